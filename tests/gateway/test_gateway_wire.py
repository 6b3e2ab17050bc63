"""The client over real sockets: what the path looks like on the wire, processes, closed ports, bad certificates."""

import json
import socket
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import PROTOCOL_TLS_SERVER, SSLContext, create_default_context

import httpx
import pytest
import trustme

from flask_iterapay.errors import GatewayConnectionError
from flask_iterapay.gateway.client import GatewayClient
from flask_iterapay.gateway.transport import Call, Credential, GatewayHttp


class Handler(BaseHTTPRequestHandler):
    """Answers every GET with an invoice of the id that its path ends in; keeps connections open."""

    protocol_version = "HTTP/1.1"
    timeout = 5

    def setup(self):
        super().setup()
        self.server.connections += 1

    def do_GET(self):
        self.server.paths.append(self.path)
        body = json.dumps({"id": "../a?b#c", "state": "paid"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Keep the test's output clean."""


class Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, tls=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.paths = []
        self.connections = 0
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)


@contextmanager
def serving(tls=None):
    server = Server(tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def make_client(base_url, **settings):
    return closing(GatewayClient(base_url=base_url, merchant_id="m-1", api_key="k", **settings))


def test_an_awkward_id_is_one_segment_on_the_wire():
    """What a server reads from the socket is the quoted id and nothing else."""
    with serving() as server, make_client(f"http://127.0.0.1:{server.server_port}") as client:
        client.get_invoice("../a?b#c")
    assert server.paths == ["/merchants/m-1/invoices/..%2Fa%3Fb%23c"]


def test_each_process_has_its_own_connection():
    """A connection is kept for the process that opened it; a fork opens its own and closes nobody else's."""
    process_id = 1
    call = Call(name="get_invoice", path="/", parse=str, credential=Credential("k", name="API key", renewal=""))
    with serving() as server:
        http = GatewayHttp(base_url=f"http://127.0.0.1:{server.server_port}", get_process_id=lambda: process_id)
        http.read(call)
        http.read(call)
        in_the_parent = server.connections
        process_id = 2
        http.read(call)
        http.close()
        in_the_child = server.connections
        process_id = 1
        http.read(call)
        http.close()
    assert (in_the_parent, in_the_child, server.connections) == (1, 2, 2)


def test_a_closed_port_is_a_connection_error():
    """Nobody at home is the same typed error as any broken connection."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with (
            make_client(f"http://127.0.0.1:{unused.getsockname()[1]}") as client,
            pytest.raises(GatewayConnectionError, match="ConnectError"),
        ):
            client.get_merchant()


def test_an_environment_with_a_proxy_is_not_consulted(monkeypatch):
    """The key does not go to whatever HTTP_PROXY names."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with serving() as server, make_client(f"http://127.0.0.1:{server.server_port}") as client:
        assert client.get_invoice("../a?b#c").spelling == "paid"


def test_a_certificate_that_nobody_vouches_for_is_a_connection_error():
    """TLS is verified; a transport of one's own may trust another authority."""
    authority = trustme.CA()
    tls = SSLContext(PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    trusting = httpx.HTTPTransport(verify=make_trust(authority))
    with serving(tls) as server:
        base_url = f"https://127.0.0.1:{server.server_port}"
        with make_client(base_url) as client, pytest.raises(GatewayConnectionError, match="ConnectError"):
            client.get_merchant()
        with make_client(base_url, transport=trusting) as client:
            assert client.get_invoice("../a?b#c").spelling == "paid"


def make_trust(authority):
    context = create_default_context()
    authority.configure_trust(context)
    return context
