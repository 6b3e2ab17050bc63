"""A TCP proxy that fails on purpose, between a client and a server of this machine.

Each connection has at most one fault, which a plan chooses by the connection's number: the same plan fails the same
connections again. Nothing waits for longer than the client does.
"""

import random
import socket
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

HOST = "127.0.0.1"
DRIBBLE_SECONDS = 0.0005
DRIBBLED_BYTES = 200
_GARBLED_EVERY = 16


class FaultKind(StrEnum):
    """What can happen to a connection. ``UP`` is from the client to the server, and everything else is down."""

    REFUSE = "refuse"
    RESET_UP = "reset up"
    RESET_DOWN = "reset down"
    SWALLOW = "swallow"
    TRUNCATE = "truncate"
    DRIBBLE = "dribble"
    STALL = "stall"
    GARBLE = "garble"


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpFault:
    """One fault. ``after`` bytes pass unharmed in its direction.

    A swallowed answer is the one that comes once the client has said ``trigger``, and here ``after`` counts how often
    it may say so unharmed. The server is heard, so the request took effect; then the connection is reset. What dribbles
    does so for ``dribbled_bytes``, with a pause after each.
    """

    kind: FaultKind
    after: int = 0
    trigger: bytes = b""
    pause_seconds: float = DRIBBLE_SECONDS
    dribbled_bytes: int = DRIBBLED_BYTES


Plan = Callable[[int], TcpFault | None]
"""Chooses the fault of a connection by its number, which counts from 0."""


def no_faults(number: int) -> None:
    """Let every connection be."""


def make_plan(seed: int, faults: Sequence[TcpFault], *, share: float, up_to: int) -> Plan:
    """Fail a share of the connections, each after fewer than ``up_to`` bytes; the seed decides, whatever the order.

    What swallows is taken as it is, since it counts words.
    """

    def choose(number: int) -> TcpFault | None:
        dice = random.Random(f"{seed}/{number}")
        if dice.random() >= share:
            return None
        fault = dice.choice(faults)
        return fault if fault.kind is FaultKind.SWALLOW else replace(fault, after=dice.randrange(up_to))

    return choose


class Proxy:
    """Passes connections on to ``target_port``; a context manager. ``struck`` counts the faults that came about."""

    def __init__(self, target_port: int, plan: Plan = no_faults) -> None:
        self.plan = plan
        self.struck: Counter[FaultKind] = Counter()
        self._target_port = target_port
        self._links: list[_Link] = []
        self._is_closing = False
        self._server = _Server(self._serve)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def port(self) -> int:
        """The port to connect to instead of the server's own."""
        return int(self._server.server_address[1])

    @property
    def connections(self) -> int:
        """How many connections were made so far."""
        return self._server.count

    def heal(self) -> None:
        """End all faults, also those that open connections still have before them, and release what stalls."""
        self.plan = no_faults
        for link in self._links:
            link.heal()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._is_closing = True
        for link in self._links:
            link.end()
        self._server.server_close()

    def _serve(self, client: socket.socket, number: int) -> None:
        fault = self.plan(number)
        if fault and fault.kind is FaultKind.REFUSE:
            self.struck[fault.kind] += 1
            _close(client, is_reset=True)
            return
        with suppress(OSError), socket.create_connection((HOST, self._target_port)) as server:
            link = _Link(client, server, fault, self.struck)
            self._links.append(link)
            if self._is_closing:
                link.end()
            link.run()


class _Server(socketserver.ThreadingTCPServer):
    """Numbers the connections and serves each from a thread of its own."""

    request_queue_size = 128

    def __init__(self, serve: Callable[[socket.socket, int], None]) -> None:
        super().__init__((HOST, 0), socketserver.BaseRequestHandler)
        self.count = 0
        self._serve = serve
        self._numbers: dict[socket.socket, int] = {}

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Give the connection its number here, where connections still come one after the other."""
        self._numbers[request] = self.count
        self.count += 1
        super().process_request(request, client_address)

    def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Serve in the connection's own thread."""
        self._serve(request, self._numbers.pop(request))

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """Close without the orderly end that the base class would give even to a reset."""
        request.close()


class _EndOfLinkError(Exception):
    """The fault ends the connection here."""


class _Link:
    """One connection, its way on to the server, and what happens to it."""

    def __init__(
        self, client: socket.socket, server: socket.socket, fault: TcpFault | None, struck: Counter[FaultKind]
    ) -> None:
        self._client = client
        self._server = server
        self._fault = fault
        self._struck = struck
        self._passed = 0
        self._heard = b""
        self._words = 0
        self._dribbled = 0
        self._has_struck = False
        self._is_reset = False
        self._may_go_on = threading.Event()
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        """Pass bytes both ways until either side, or the fault, ends it."""
        up = threading.Thread(target=self._pump, args=(self._client, self._send_up))
        up.start()
        self._pump(self._server, self._send_down)
        up.join()
        _close(self._client, is_reset=self._is_reset)

    def heal(self) -> None:
        """Let whatever is held, and all that comes, pass."""
        self._fault = None
        self._may_go_on.set()

    def end(self) -> None:
        """Wake both directions. Reading alone is shut, so that the end that the client sees is made by ``run``."""
        self._may_go_on.set()
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RD)

    def _pump(self, source: socket.socket, send: Callable[[bytes], None]) -> None:
        try:
            while data := source.recv(65536):
                send(data)
        except (OSError, _EndOfLinkError):
            pass
        finally:
            self.end()

    def _send_up(self, data: bytes) -> None:
        fault = self._fault
        if fault and fault.kind is FaultKind.RESET_UP:
            unharmed, rest = self._split(fault, data)
            self._server.sendall(unharmed)
            if rest:
                self._note(fault)
                self._end(is_reset=True)
            return
        if fault and fault.kind is FaultKind.SWALLOW:
            # Counted before the server hears it, so that the answer cannot slip through.
            self._listen(fault.trigger, data)
        self._server.sendall(data)

    def _send_down(self, data: bytes) -> None:
        fault = self._fault
        if fault is None or fault.kind is FaultKind.RESET_UP:
            self._client.sendall(data)
        elif fault.kind is FaultKind.SWALLOW:
            if self._words > fault.after:
                self._note(fault)
                self._end(is_reset=True)
            self._client.sendall(data)
        else:
            unharmed, rest = self._split(fault, data)
            self._client.sendall(unharmed)
            if rest:
                self._note(fault)
                self._harm(fault, rest)

    def _harm(self, fault: TcpFault, data: bytes) -> None:
        match fault.kind:
            case FaultKind.DRIBBLE:
                self._dribble(fault, data)
            case FaultKind.STALL:
                self._may_go_on.wait()
                self._client.sendall(data)
            case FaultKind.GARBLE:
                self._client.sendall(garble(data))
            case _:
                self._end(is_reset=fault.kind is FaultKind.RESET_DOWN)

    def _dribble(self, fault: TcpFault, data: bytes) -> None:
        room = max(0, fault.dribbled_bytes - self._dribbled)
        self._dribbled += len(data)
        for byte in data[:room]:
            self._client.sendall(bytes([byte]))
            self._may_go_on.wait(fault.pause_seconds)
        self._client.sendall(data[room:])

    def _split(self, fault: TcpFault, data: bytes) -> tuple[bytes, bytes]:
        room = max(0, fault.after - self._passed)
        self._passed += len(data)
        return data[:room], data[room:]

    def _listen(self, trigger: bytes, data: bytes) -> None:
        self._heard += data
        self._words += self._heard.count(trigger)
        # A word that came in two pieces is heard once, and none twice.
        self._heard = self._heard[max(0, len(self._heard) - len(trigger) + 1) :]

    def _note(self, fault: TcpFault) -> None:
        self._struck[fault.kind] += not self._has_struck
        self._has_struck = True

    def _end(self, *, is_reset: bool) -> None:
        self._is_reset = is_reset
        raise _EndOfLinkError


def garble(data: bytes) -> bytes:
    """Spoil every sixteenth byte so that it is no ASCII; a lone one of those is no UTF-8 either."""
    return bytes(byte ^ 0x80 if index % _GARBLED_EVERY == 0 else byte for index, byte in enumerate(data))


def _close(end: socket.socket, *, is_reset: bool) -> None:
    if is_reset:
        # Lingering for no time at all is how a socket is told to send RST.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
