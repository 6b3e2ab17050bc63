"""What can be switched in the sandbox while it runs: its dialect, its strictness and its faults."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from enum import StrEnum
from typing import Any

__all__ = [
    "AddressesShape",
    "ApiFault",
    "CreateForm",
    "Dialect",
    "Envelope",
    "Operation",
    "PublicAuth",
    "ReusableAddress",
    "SandboxSettings",
    "SignatureEncoding",
    "TransactionDetail",
    "WebhookFault",
    "parse_settings",
]


class Dialect(StrEnum):
    """Which half of the documentation the answers follow (contract section 7)."""

    REFERENCE = "reference"
    GUIDE = "guide"


class CreateForm(StrEnum):
    """Which bodies create an invoice: every documented one, or the reference page's alone (contract C9)."""

    ANY = "any"
    REFERENCE = "reference"


class PublicAuth(StrEnum):
    """Where the public address calls want credentials: nowhere, on the list, or on both (contract C5, C6)."""

    NONE = "none"
    LIST = "list"
    BOTH = "both"


class AddressesShape(StrEnum):
    """The list of addresses as a bare array, or under ``data`` (contract C7)."""

    BARE = "bare"
    WRAPPED = "wrapped"


class ReusableAddress(StrEnum):
    """Whether a reusable invoice keeps its address, or gives another one at every request; both are documented."""

    SAME = "same"
    NEW = "new"


class TransactionDetail(StrEnum):
    """What a transaction tells: what is documented, or its address and its asset's ticker as well (contract 1.7).

    The second is an invention: no answer that is documented names either.
    """

    DOCUMENTED = "documented"
    TOLD = "told"


class SignatureEncoding(StrEnum):
    """How the webhook signature is written: none of these is documented (contract 3.6)."""

    HEX = "hex"
    BASE64 = "base64"
    PREFIXED = "prefixed"


class Envelope(StrEnum):
    """How a webhook's invented body is built: facts under ``data``, or at the top."""

    NESTED = "nested"
    FLAT = "flat"


class WebhookFault(StrEnum):
    """What goes wrong with deliveries."""

    DROP = "drop"
    DUPLICATE = "duplicate"
    DELAY = "delay"
    REORDER = "reorder"
    CORRUPT = "corrupt"


class ApiFault(StrEnum):
    """What an API call is answered with instead of the truth."""

    NONE = "none"
    UNAUTHORIZED = "401"
    FORBIDDEN = "403"
    RATE_LIMITED = "429"
    RATE_LIMITED_RETRY_AFTER = "429_retry_after"
    SERVER_ERROR = "500"
    UNAVAILABLE = "503"
    GARBAGE = "garbage"
    HTML = "html"
    OVERSIZED = "oversized"
    REDIRECT = "redirect"
    TIMEOUT = "timeout"
    LOST_ANSWER = "lost_answer"


class Operation(StrEnum):
    """Which API calls a fault strikes."""

    ANY = "any"
    CREATE = "create"
    ADDRESS = "address"
    INVOICE = "invoice"
    TRANSACTIONS = "transactions"
    METHODS = "methods"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """The present switches. ``fault_calls`` is how many calls the API fault still strikes, 0 meaning all of them."""

    dialect: Dialect = Dialect.REFERENCE
    create_form: CreateForm = CreateForm.ANY
    public_auth: PublicAuth = PublicAuth.NONE
    addresses_shape: AddressesShape = AddressesShape.BARE
    reusable_address: ReusableAddress = ReusableAddress.SAME
    transaction_detail: TransactionDetail = TransactionDetail.DOCUMENTED
    quote_seconds: int = 900
    signature_encoding: SignatureEncoding = SignatureEncoding.HEX
    envelope: Envelope = Envelope.NESTED
    webhook_faults: frozenset[WebhookFault] = frozenset()
    delay_seconds: int = 30
    api_fault: ApiFault = ApiFault.NONE
    fault_operation: Operation = Operation.ANY
    fault_calls: int = 1

    @property
    def quote_lifetime(self) -> timedelta:
        """How long a price holds."""
        return timedelta(seconds=self.quote_seconds)

    @property
    def delay(self) -> timedelta:
        """How long a delayed delivery is held back."""
        return timedelta(seconds=self.delay_seconds)

    def strikes(self, operation: Operation) -> bool:
        """Whether the API fault strikes this operation."""
        return self.api_fault is not ApiFault.NONE and self.fault_operation in {Operation.ANY, operation}


_NUMBERS = {"quote_seconds": range(1, 86_401), "delay_seconds": range(3_601), "fault_calls": range(1_001)}


def parse_settings(values: Mapping[str, object]) -> SandboxSettings:
    """Read settings from a form or from stored JSON; what is absent gets its default.

    Raises:
        ValueError: a word or a number that is not offered.
    """
    present = [field for field in fields(SandboxSettings) if field.name in values]
    return SandboxSettings(**{field.name: _parse(field.name, field.default, values[field.name]) for field in present})


def _parse(name: str, default: object, value: Any) -> Any:
    if isinstance(default, StrEnum):
        return type(default)(value)
    if isinstance(default, frozenset):
        return frozenset(WebhookFault(item) for item in _parse_list(value))
    number = int(str(value))
    if number not in _NUMBERS[name]:
        raise ValueError(f"{name} must be within {_NUMBERS[name]}")
    return number


def _parse_list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list is needed")
    return value
