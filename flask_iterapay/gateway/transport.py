"""HTTP with the gateway: one deadline, one size cap, one family of errors. The only importer of httpx here.

What the documentation does not say, and we assume: ``Retry-After`` may come with a 429, as seconds or as a date, and
a request that was never answered may have taken effect.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Generic, TypeVar

import httpx
import stamina
from httpx import BaseTransport

from ..errors import (
    BadRequestError,
    ConfigurationError,
    ForbiddenError,
    GatewayConnectionError,
    GatewayError,
    GatewayRefusedError,
    GatewayServerError,
    GatewayTimeoutError,
    GatewayUnavailableError,
    MalformedAnswerError,
    NotFoundError,
    OversizedAnswerError,
    RateLimitedError,
    RedirectedAnswerError,
    UnauthorizedError,
)
from .codec import decode, parse_problem
from .fields import CodecError

__all__ = ["MAX_ANSWER_BYTES", "BaseTransport", "Call", "Credential", "GatewayHttp", "plan_retry"]

Result = TypeVar("Result")

MAX_ANSWER_BYTES = 1024 * 1024

_ATTEMPTS = 3
_MAX_WAIT_SECONDS = 2.0
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "flask-iterapay"}
_REFUSALS: dict[int, type[GatewayRefusedError]] = {401: UnauthorizedError, 403: ForbiddenError, 404: NotFoundError}

# The first class that fits decides. OSError and UnicodeError come from transports other than httpx's own, and from
# host names that no resolver takes.
_FOREIGN_ERRORS: dict[type[Exception], type[GatewayError]] = {
    httpx.TimeoutException: GatewayTimeoutError,
    httpx.TooManyRedirects: RedirectedAnswerError,
    httpx.DecodingError: MalformedAnswerError,
    httpx.HTTPError: GatewayConnectionError,
    httpx.InvalidURL: BadRequestError,
    httpx.CookieConflict: GatewayConnectionError,
    httpx.StreamError: GatewayConnectionError,
    OSError: GatewayConnectionError,
    UnicodeError: BadRequestError,
}

logger = logging.getLogger("flask_iterapay")


class Credential(httpx.Auth):
    """A key or a token, and the one header that carries it.

    ``name`` says what it is and ``renewal`` how to get a new one, for the log. ``repr`` shows nothing of it, and it
    is attached inside httpx, so that no request of ours is built with the header in a variable.

    Raises:
        ConfigurationError: for a value that no header can carry. It is refused here since a lower layer would quote it.
    """

    def __init__(self, value: str, *, name: str, renewal: str, is_bearer: bool = False) -> None:
        if not re.fullmatch(r"[!-~]{1,8192}", value):
            raise ConfigurationError(f"the {name} must be printable ASCII without blanks")
        self.name = name
        self.renewal = renewal
        self.value = value
        self._header = ("Authorization", f"Bearer {value}") if is_bearer else ("X-Api-Key", value)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Attach the header; httpx calls this for each request."""
        header, value = self._header
        request.headers[header] = value
        yield request


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Result]):
    """One request, and how to read its answer.

    ``name`` is the client method, for errors and logs; ``path`` is quoted already. ``parse`` takes the decoded JSON,
    ``None`` for an empty body, and raises ``CodecError``. ``secrets`` are hidden if an error answer echoes them.
    """

    name: str
    path: str
    parse: Callable[[object], Result]
    credential: Credential
    method: str = "GET"
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


class GatewayHttp:
    """Sends calls, and turns whatever goes wrong into one ``GatewayError``.

    Redirects are not followed, cookies not kept, the environment (proxies, netrc) not consulted. Only plain bodies
    up to ``MAX_ANSWER_BYTES`` are read. ``clock`` is monotonic, in seconds.

    The deadline covers a call with all its retries. Every attempt gets what is left of it as its time-outs, and it is
    checked after each piece of a body, so that a silence can overrun it by one read time-out. Header lines that
    trickle in are bounded by the read time-out and by their size alone.
    """

    def __init__(
        self,
        *,
        base_url: str,
        transport: BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        get_process_id: Callable[[], int] = os.getpid,
        connect_timeout_seconds: float = 5,
        read_timeout_seconds: float = 10,
        deadline_seconds: float = 20,
    ) -> None:
        self._base_url = _check_base_url(base_url)
        self._transport = transport
        self._clock = clock
        self._get_process_id = get_process_id
        self._connect_timeout_seconds = connect_timeout_seconds
        self._read_timeout_seconds = read_timeout_seconds
        self._deadline_seconds = deadline_seconds
        self._clients: dict[int, httpx.Client] = {}

    def start(self) -> float:
        """Return the deadline of something that starts now, for calls that share one."""
        return self._clock() + self._deadline_seconds

    def read(self, call: Call[Result], *, deadline: float | None = None) -> Result:
        """Send a call that changes nothing, up to three times while the gateway is unavailable."""
        deadline = self.start() if deadline is None else deadline
        retrying = stamina.RetryingCaller(
            attempts=_ATTEMPTS, timeout=None, wait_initial=0.2, wait_max=_MAX_WAIT_SECONDS, wait_jitter=0.5
        )
        return retrying(
            lambda error: plan_retry(error, left_seconds=deadline - self._clock()), self._send, call, deadline
        )

    def write(self, call: Call[Result]) -> Result:
        """Send a call that changes something: once, since an answer that was lost proves nothing."""
        return self._send(call, self.start())

    def close(self) -> None:
        """Close this process's connections; another process's are left alone. The next call opens new ones."""
        client = self._clients.pop(self._get_process_id(), None)
        if client is not None:
            client.close()

    def _send(self, call: Call[Result], deadline: float) -> Result:
        status, body = self._exchange(call, deadline)
        try:
            return call.parse(decode(body) if body else None)
        except CodecError as error:
            raise MalformedAnswerError(call.name, status=status, detail=str(error)) from error

    def _exchange(self, call: Call[Result], deadline: float) -> tuple[int, bytes]:
        try:
            with self._get_client().stream(
                call.method,
                self._base_url + call.path,
                params=call.query or None,
                content=call.body,
                headers={"Content-Type": "application/json"} if call.body else None,
                auth=call.credential,
                timeout=self._get_timeout(call, deadline),
            ) as response:
                if not response.is_success:
                    raise self._refuse(call, response, deadline)
                return response.status_code, self._read_body(call, response, deadline)
        except tuple(_FOREIGN_ERRORS) as error:
            raise _translate(call, error) from error

    def _get_client(self) -> httpx.Client:
        # One client per process: connections inherited through a fork belong to the parent, which is why its client
        # is neither used nor closed nor garbage-collected. Two threads may both build one here; only one is kept, and
        # the other has no connection yet. A lock could be inherited in its locked state.
        process_id = self._get_process_id()
        return self._clients.get(process_id) or self._clients.setdefault(process_id, self._build_client())

    def _build_client(self) -> httpx.Client:
        return httpx.Client(
            transport=self._transport,
            headers=_HEADERS,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            trust_env=False,
        )

    def _get_timeout(self, call: Call[Result], deadline: float) -> httpx.Timeout:
        left = deadline - self._clock()
        if left <= 0:
            raise GatewayTimeoutError(call.name, detail="no time left")
        return httpx.Timeout(min(left, self._read_timeout_seconds), connect=min(left, self._connect_timeout_seconds))

    def _read_body(self, call: Call[Result], response: httpx.Response, deadline: float) -> bytes:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise OversizedAnswerError(call.name, status=response.status_code, detail="the answer is compressed")
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > MAX_ANSWER_BYTES:
                raise OversizedAnswerError(call.name, status=response.status_code, detail="the answer is too large")
            if self._clock() >= deadline:
                raise GatewayTimeoutError(call.name, status=response.status_code, detail="the answer is too slow")
        return bytes(body)

    def _refuse(self, call: Call[Result], response: httpx.Response, deadline: float) -> GatewayError:
        """Make the error that an answer outside of 2xx stands for; its body may be anything (C36)."""
        status = response.status_code
        if 300 <= status < 400:
            return RedirectedAnswerError(call.name, status=status)
        title, detail = self._read_problem(call, response, deadline)
        if status == 429:
            seconds = _parse_retry_after(response.headers)
            return RateLimitedError(call.name, title=title, detail=detail, retry_after_seconds=seconds)
        if status >= 500:
            return GatewayServerError(call.name, status=status, title=title, detail=detail)
        if status < 400:
            return MalformedAnswerError(call.name, status=status)
        _log_refusal(call, status)
        return _REFUSALS.get(status, BadRequestError)(call.name, status=status, title=title, detail=detail)

    def _read_problem(self, call: Call[Result], response: httpx.Response, deadline: float) -> tuple[str, str]:
        try:
            body = self._read_body(call, response, deadline)
        except (GatewayError, httpx.HTTPError):
            # The status says enough; a body that cannot be read must not hide it.
            return "", ""
        return parse_problem(body, secrets=(call.credential.value, *call.secrets))


def plan_retry(error: Exception, *, left_seconds: float) -> bool | timedelta:
    """Tell stamina whether to try again: no, after as many seconds as the gateway asked for, or with its own back-off.

    A wait that would outlast the deadline is not begun.
    """
    if not isinstance(error, GatewayUnavailableError):
        return False
    asked_seconds = error.retry_after_seconds if isinstance(error, RateLimitedError) else None
    if (asked_seconds or _MAX_WAIT_SECONDS) >= left_seconds:
        return False
    return timedelta(seconds=asked_seconds) if asked_seconds else True


def _check_base_url(text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ConfigurationError("the gateway's base URL is not a URL") from error
    if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment or url.userinfo:
        raise ConfigurationError("the gateway's base URL must be http(s)://host, without query, fragment or password")
    return text.rstrip("/")


def _translate(call: Call[Result], error: Exception) -> GatewayError:
    """Wrap a foreign error by its kind alone: its text may quote what was sent."""
    ours = next(ours for foreign, ours in _FOREIGN_ERRORS.items() if isinstance(error, foreign))
    return ours(call.name, detail=type(error).__name__)


def _log_refusal(call: Call[Result], status: int) -> None:
    credential = call.credential
    if status == 401:
        reason = f"is missing, expired or revoked. {credential.renewal}"
    elif status == 403:
        reason = "is another merchant's or lacks the permission, or the allow-list lacks this server's IP address."
    else:
        return
    logger.error("IteraPay answered %d to %s: the %s %s", status, call.name, credential.name, reason)


def _parse_retry_after(headers: httpx.Headers) -> float | None:
    """Read Retry-After as seconds from now, or ``None`` if it makes no sense.

    A date is compared with the answer's own ``Date``, so that our clock may be wrong.
    """
    text = headers.get("Retry-After", "")
    if re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    until, now = _parse_http_date(text), _parse_http_date(headers.get("Date", ""))
    return max(0.0, (until - now).total_seconds()) if until and now else None


def _parse_http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo else None
