"""The way from the client to a sandbox in the same process."""

import contextvars
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import httpx

from .faults import FAULT_HEADER

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

__all__ = ["SandboxTransport"]


class SandboxTransport(httpx.BaseTransport):
    """Calls the sandbox's WSGI app as if it were a server.

    The app runs to its end, deliveries included, in an empty context, so that neither app sees the other's request.
    A time-out that the sandbox is set to becomes a real one, which ``httpx.WSGITransport`` has no way to show.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        def call(environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
            # httpx hands over decoded text where WSGI (PEP 3333) wants the path's bytes as Latin-1.
            environ["PATH_INFO"] = environ["PATH_INFO"].encode().decode("latin-1")
            return app(environ, start_response)

        self._inner = httpx.WSGITransport(app=call, raise_app_exceptions=True)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request.

        Raises:
            httpx.ReadTimeout: the sandbox is set to let this call time out.
        """
        response = contextvars.Context().run(self._call, request)
        if response.headers.get(FAULT_HEADER) == "timeout":
            raise httpx.ReadTimeout("the sandbox lets this call time out", request=request)
        return response

    def _call(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.handle_request(request)
        try:
            body = answer.read()
        finally:
            answer.close()
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(body))
