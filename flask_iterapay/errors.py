"""Every error that flask-iterapay raises on purpose.

::

    IteraPayError
    ├── ConfigurationError           the app must not start like this
    │   └── NotInitialisedError      init_app or register_blueprint is missing
    ├── AmountError                  an amount that is not exact money (also a ValueError)
    ├── SignatureError               a webhook that nobody with a key of ours signed
    ├── GatewayError                 a call to IteraPay gave nothing to work with
    │   ├── GatewayUnavailableError  nothing is known of the outcome; later may be better
    │   │   ├── GatewayConnectionError
    │   │   ├── GatewayTimeoutError
    │   │   ├── GatewayServerError   5xx
    │   │   └── RateLimitedError     429
    │   ├── GatewayRefusedError      the gateway said no; the same call will fail again
    │   │   ├── BadRequestError      400, and every 4xx without a class of its own
    │   │   ├── UnauthorizedError    401: key missing, expired or revoked
    │   │   ├── ForbiddenError       403: key of another merchant, or the IP allow-list
    │   │   └── NotFoundError        404
    │   └── UnusableAnswerError      an answer that must not be believed
    │       ├── MalformedAnswerError not JSON, not the documented shape, or not exact money
    │       ├── OversizedAnswerError
    │       └── RedirectedAnswerError
    ├── StoreError
    │   ├── RecordExistsError
    │   ├── RefTakenError
    │   ├── UnreadableRecordError    written by a newer release, or damaged
    │   └── StoreUnavailableError    busy, down, or losing every race for a while
    ├── OrderError                   what was asked cannot be done to this order
    │   ├── InvalidOrderError        a bad order id, currency, description or return URL
    │   ├── OrderNotFoundError
    │   ├── OrderLockedError         money was seen, so amount and method are settled
    │   ├── OrderPaidError
    │   ├── OrderCancelledError
    │   ├── OrderNotOnHoldError
    │   ├── MethodNotOfferedError
    │   └── TooManyInvoicesError
    └── LinkError                    what was asked cannot be done to this payment link
        ├── InvalidLinkError         a bad link id, description, minimum, method or slug
        ├── LinkNotFoundError
        ├── LinkClosedError          it gives out no more addresses
        ├── LinkMethodError          the link is not paid by this method
        ├── TooManyAddressesError    this visitor has asked for too many
        ├── VisitNotFoundError
        ├── ContributionNotFoundError
        └── ContributionNotOnHoldError
"""

from collections.abc import Sequence

__all__ = [
    "AmountError",
    "BadRequestError",
    "ConfigurationError",
    "ContributionNotFoundError",
    "ContributionNotOnHoldError",
    "ForbiddenError",
    "GatewayConnectionError",
    "GatewayError",
    "GatewayRefusedError",
    "GatewayServerError",
    "GatewayTimeoutError",
    "GatewayUnavailableError",
    "InvalidLinkError",
    "InvalidOrderError",
    "IteraPayError",
    "LinkClosedError",
    "LinkError",
    "LinkMethodError",
    "LinkNotFoundError",
    "MalformedAnswerError",
    "MethodNotOfferedError",
    "NotFoundError",
    "NotInitialisedError",
    "OrderCancelledError",
    "OrderError",
    "OrderLockedError",
    "OrderNotFoundError",
    "OrderNotOnHoldError",
    "OrderPaidError",
    "OversizedAnswerError",
    "RateLimitedError",
    "RecordExistsError",
    "RedirectedAnswerError",
    "RefTakenError",
    "SignatureError",
    "StoreError",
    "StoreUnavailableError",
    "TooManyAddressesError",
    "TooManyInvoicesError",
    "UnauthorizedError",
    "UnreadableRecordError",
    "UnusableAnswerError",
    "VisitNotFoundError",
]


class IteraPayError(Exception):
    """The root: catching it catches every error of this package."""


class ConfigurationError(IteraPayError):
    """The configuration cannot work.

    ``problems`` lists everything that is wrong, one sentence each, naming the key to set; the message is all of
    them at once, so that a start is repaired in one round.
    """

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(["flask-iterapay cannot start:", *(f"  * {text}" for text in self.problems)]))


class NotInitialisedError(ConfigurationError):
    """``init_app`` was not called for this app, or the blueprint is not registered on it."""


class AmountError(IteraPayError, ValueError):
    """A value that is not an exact, finite, plainly written decimal in the allowed range."""


class SignatureError(IteraPayError):
    """The signature header is missing, malformed or made with none of our keys.

    The message is for a log. A sender must not learn which of these it was.
    """


class GatewayError(IteraPayError):
    """A gateway call failed.

    ``request_name`` is the client method (``"create_invoice"``); ``status`` the HTTP status or ``None`` if no
    answer came; ``title`` and ``detail`` come from the problem body (RFC 7807), cut short and without control
    characters. No error of this family ever holds a key, a secret or a header.
    """

    def __init__(self, request_name: str, *, status: int | None = None, title: str = "", detail: str = "") -> None:
        self.request_name = request_name
        self.status = status
        self.title = title
        self.detail = detail
        parts = [str(status) if status is not None else "", title, detail]
        super().__init__(f"{request_name}: {' · '.join(part for part in parts if part) or type(self).__name__}")


class GatewayUnavailableError(GatewayError):
    """No usable answer came, so whether the call took effect is unknown. Reads may be tried again."""


class GatewayConnectionError(GatewayUnavailableError):
    """The gateway could not be reached, or the connection broke (DNS, TLS, reset)."""


class GatewayTimeoutError(GatewayUnavailableError):
    """The answer did not come within the deadline."""


class GatewayServerError(GatewayUnavailableError):
    """The gateway answered 5xx."""


class RateLimitedError(GatewayUnavailableError):
    """The gateway answered 429; ``retry_after_seconds`` is what it asked for, if it said."""

    def __init__(
        self,
        request_name: str,
        *,
        status: int | None = 429,
        title: str = "",
        detail: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(request_name, status=status, title=title, detail=detail)
        self.retry_after_seconds = retry_after_seconds


class GatewayRefusedError(GatewayError):
    """The gateway refused the request; repeating it unchanged is pointless."""


class BadRequestError(GatewayRefusedError):
    """400, or another 4xx that has no class of its own."""


class UnauthorizedError(GatewayRefusedError):
    """401: the API key (or bearer token) is missing, expired or revoked. Keys expire about monthly."""


class ForbiddenError(GatewayRefusedError):
    """403: the key belongs to another merchant, lacks the permission, or the IP is not on the allow-list."""


class NotFoundError(GatewayRefusedError):
    """404."""


class UnusableAnswerError(GatewayError):
    """An answer arrived, but nothing in it may be believed."""


class MalformedAnswerError(UnusableAnswerError):
    """The answer is not JSON, lacks a required field, or carries money that is not exact."""


class OversizedAnswerError(UnusableAnswerError):
    """The answer is larger than the cap, or compressed although we asked for plain bytes."""


class RedirectedAnswerError(UnusableAnswerError):
    """The gateway redirected. It is never followed, since the API key would travel along."""


class StoreError(IteraPayError):
    """The order store could not do what was asked."""


class RecordExistsError(StoreError):
    """``add`` found a record under the same key."""


class RefTakenError(StoreError):
    """A ref (an invoice id) already belongs to another record."""


class UnreadableRecordError(StoreError):
    """A record's body cannot be read: a newer release wrote it, or it is damaged. It is left as it is."""


class StoreUnavailableError(StoreError):
    """The database is down or stayed busy through every bounded retry.

    Whether the write took effect is unknown until the record is read: the connection may have broken in the commit.
    """


class OrderError(IteraPayError):
    """What was asked cannot be done to the order named by ``order_id``."""

    def __init__(self, order_id: str, reason: str) -> None:
        self.order_id = order_id
        self.reason = reason
        super().__init__(f"order {order_id!r}: {reason}")


class InvalidOrderError(OrderError, ValueError):
    """The shop handed over an order id, currency, description, metadata or return URL that is not allowed."""


class OrderNotFoundError(OrderError):
    """There is no such order."""


class OrderLockedError(OrderError):
    """Money was seen for this order, so its amount and its method no longer change."""


class OrderPaidError(OrderError):
    """The order is paid already."""


class OrderCancelledError(OrderError):
    """The shop cancelled the order."""


class OrderNotOnHoldError(OrderError):
    """A person decides only about money that waits: the order is on hold, or its money is not confirmed."""


class MethodNotOfferedError(OrderError):
    """The payment method is unknown, not on the shop's allow-list, or refused by the gateway."""


class TooManyInvoicesError(OrderError):
    """The order has used up its invoices (ten)."""


class LinkError(IteraPayError):
    """What was asked cannot be done; ``subject_id`` is the id of the link, the visit or the contribution."""

    def __init__(self, subject_id: str, reason: str) -> None:
        self.subject_id = subject_id
        self.reason = reason
        super().__init__(f"{subject_id!r}: {reason}")


class InvalidLinkError(LinkError, ValueError):
    """The shop handed over a link id, description, minimum, list of methods or slug that is not allowed."""


class LinkNotFoundError(LinkError):
    """There is no such payment link."""


class LinkClosedError(LinkError):
    """The link is closed: it gives out no more addresses."""


class LinkMethodError(LinkError):
    """The payment method is unknown, not on the shop's or the link's list, or refused by the gateway."""


class TooManyAddressesError(LinkError):
    """This visitor has asked for as many addresses as one may for now; ``retry_after_seconds`` is when to ask again."""

    def __init__(self, subject_id: str, reason: str, *, retry_after_seconds: int) -> None:
        super().__init__(subject_id, reason)
        self.retry_after_seconds = retry_after_seconds


class VisitNotFoundError(LinkError):
    """No visit has this reference."""


class ContributionNotFoundError(LinkError):
    """There is no such contribution."""


class ContributionNotOnHoldError(LinkError):
    """A person decides only about money that waits: the contribution is on hold, not confirmed yet, or refused."""
