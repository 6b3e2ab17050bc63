"""The gateway's endpoints as methods, and nothing that could do harm.

There is no method to archive or delete an invoice, to touch keys, or to delete the merchant, although the same key
may do all of that. A bare POST to an invoice's own URL archives it (contract 1.1, row 4), so no method here posts
below ``/invoices``.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import Literal, TypeVar, Unpack
from urllib.parse import quote

from ..errors import (
    BadRequestError,
    ConfigurationError,
    ForbiddenError,
    GatewayError,
    NotFoundError,
    OversizedAnswerError,
    UnauthorizedError,
)
from ..money import parse_usd
from ..values import replace
from . import codec
from .fields import CodecError, is_id
from .filters import InvoiceFilters, format_filters
from .models import (
    DepositAddress,
    Invoice,
    InvoiceType,
    Merchant,
    MethodId,
    Page,
    PaymentMethod,
    Transaction,
    TransactionPage,
    WebhookRegistration,
)
from .paging import PAGE_LIMIT, iterate_pages, make_transaction_page, pick_transactions
from .transport import BaseTransport, Call, Credential, GatewayHttp

__all__ = ["GatewayClient"]

Result = TypeVar("Result")

_STALE_SECONDS = 30
_NEWEST_FIRST = (("order", "desc"), ("orderBy", "createdAt"))

logger = logging.getLogger("flask_iterapay")


class GatewayClient:
    """Speaks to IteraPay for one merchant. Safe to share between threads and across a fork.

    Each request ends within ``deadline_seconds``, retries included, or becomes a ``GatewayError``; every method may
    raise one. Reads are tried again while the gateway is unavailable; what creates or changes something is sent once.

    ``create_form`` is the documented body that creates invoices (C8, C9): a string amount and ``paymentMethodID``, or
    a number and ``methodID``, should the gateway refuse the first.

    ``clock`` is monotonic, in seconds. The environment is not consulted, since a netrc would add a second
    credential: for a proxy or a certificate authority of your own, hand in
    ``httpx.HTTPTransport(proxy=..., verify=...)`` as ``transport``. A transport that was handed in is used as it is in
    every process, so make no call through it before forking.

    Raises:
        ConfigurationError: for a base URL, merchant id or key that cannot be sent.
    """

    def __init__(
        self,
        *,
        base_url: str,
        merchant_id: str,
        api_key: str,
        auth: Literal["api_key", "bearer"] = "api_key",
        create_form: Literal["reference", "concept"] = "reference",
        transport: BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        connect_timeout_seconds: float = 5,
        read_timeout_seconds: float = 10,
        deadline_seconds: float = 20,
        cache_seconds: float = 300,
    ) -> None:
        if not is_id(merchant_id):
            raise ConfigurationError("the merchant id must have 1 to 64 printable characters")
        self.base_url = base_url
        self.merchant_id = merchant_id
        self._merchant = quote(merchant_id, safe="")
        self._create_form = create_form
        self._credential = Credential(
            api_key,
            name="API key",
            renewal="Keys expire about monthly: generate a new one in the dashboard and set ITERAPAY_API_KEY.",
            is_bearer=auth == "bearer",
        )
        self._http = GatewayHttp(
            base_url=base_url,
            transport=transport,
            clock=clock,
            connect_timeout_seconds=connect_timeout_seconds,
            read_timeout_seconds=read_timeout_seconds,
            deadline_seconds=deadline_seconds,
        )
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._methods: tuple[PaymentMethod, ...] | None = None
        self._methods_failure: GatewayError | None = None
        self._methods_fresh_until = 0.0

    def __repr__(self) -> str:
        return f"GatewayClient(base_url={self.base_url!r}, merchant_id={self.merchant_id!r})"

    def close(self) -> None:
        """Close this process's connections; the next call opens new ones."""
        self._http.close()

    def create_invoice(
        self,
        *,
        amount: Decimal,
        method_id: MethodId | None,
        description: str,
        invoice_type: InvoiceType = InvoiceType.ONETIME,
    ) -> str:
        """Create an invoice over an amount in USD and return its id (C8, C9, C13). Never retried.

        Raises:
            AmountError: for an amount that is not whole cents over zero.
            GatewayUnavailableError: the invoice may exist or not. Without its id nobody can pay it.
        """
        body = codec.format_invoice(
            amount=parse_usd(amount),
            invoice_type=invoice_type,
            description=description,
            method_id=method_id,
            form=self._create_form,
        )
        path = f"/merchants/{self._merchant}/invoices"
        return self._http.write(
            self._call("create_invoice", path, codec.parse_created_invoice, method="POST", body=body)
        )

    def get_invoice(self, invoice_id: str) -> Invoice:
        """Read an invoice. An answer about another one is a ``MalformedAnswerError``."""
        return self._read_invoice("get_invoice", f"/merchants/{self._merchant}/invoices", invoice_id)

    def get_public_invoice(self, invoice_id: str) -> Invoice:
        """Read an invoice where customers may, with the key attached nevertheless (C5)."""
        return self._read_invoice("get_public_invoice", "/public/invoices", invoice_id)

    def _read_invoice(self, name: str, path: str, invoice_id: str) -> Invoice:
        parse = _expecting(codec.parse_invoice, lambda invoice: invoice.invoice_id == invoice_id)
        return self._http.read(self._call(name, f"{path}/{_quote(name, invoice_id)}", parse))

    def list_invoices(self, *, page: int = 1, limit: int = 20, **filters: Unpack[InvoiceFilters]) -> Page[Invoice]:
        """List one page of invoices, newest first unless asked otherwise.

        Raises:
            ValueError: for a date to filter by that has no offset.
        """
        query = tuple(format_filters(filters, page=page, limit=limit))
        path = f"/merchants/{self._merchant}/invoices"
        return self._http.read(self._call("list_invoices", path, codec.parse_invoices, query=query))

    def iterate_invoices(self, **filters: Unpack[InvoiceFilters]) -> Iterator[Invoice]:
        """List invoices page by page, each once (C31), up to 20 pages of 100; a log warning tells if there are more."""
        seen: set[str] = set()
        for invoice in iterate_pages(lambda page: self.list_invoices(page=page, limit=PAGE_LIMIT, **filters)):
            if invoice.invoice_id not in seen:
                seen.add(invoice.invoice_id)
                yield invoice

    def get_deposit_address(self, invoice_id: str, method_id: MethodId) -> DepositAddress:
        """Get the deposit address of an invoice for one payment method; the gateway makes it on first demand.

        Asking again gives the same address, with a new amount and expiry perhaps (C21). A method that the invoice
        does not offer is a ``BadRequestError`` or a ``NotFoundError`` (C10); an answer that names another method is
        a ``MalformedAnswerError``.
        """
        name = "get_deposit_address"
        path = f"/public/invoices/{_quote(name, invoice_id)}/method/{_quote(name, str(method_id))}/address"
        parse = _expecting(
            codec.parse_deposit_address,
            lambda address: address.method_id is None or str(address.method_id) == str(method_id),
        )
        return self._http.read(self._call(name, path, parse))

    def list_deposit_addresses(self, invoice_id: str) -> tuple[DepositAddress, ...]:
        """List an invoice's deposit addresses, which may be none yet (C7).

        Where the list wants another credential than ours (C6), each payment method is asked for instead.
        """
        name = "list_deposit_addresses"
        path = f"/public/invoices/{_quote(name, invoice_id)}/addresses"
        try:
            return self._http.read(self._call(name, path, codec.parse_deposit_addresses))
        except (UnauthorizedError, ForbiddenError):
            return tuple(self._iterate_addresses(invoice_id))

    def _iterate_addresses(self, invoice_id: str) -> Iterator[DepositAddress]:
        for method in self.list_payment_methods():
            try:
                address = self.get_deposit_address(invoice_id, method.method_id)
            except (BadRequestError, NotFoundError):
                continue
            yield replace(address, method_id=method.method_id)

    def list_payment_methods(self) -> tuple[PaymentMethod, ...]:
        """List the payment methods, from memory for ``cache_seconds``.

        If the gateway fails, the last known list serves on, with a log warning and another attempt after 30 seconds;
        only a failure before any list was known is raised, and for as long raised again without asking.
        """
        if self._methods is None:
            self._read_first_methods()
        elif self._clock() >= self._methods_fresh_until:
            self._refresh_methods()
        return self._methods or ()

    def _read_first_methods(self) -> None:
        if self._methods_failure is not None and self._clock() < self._methods_fresh_until:
            raise self._methods_failure.with_traceback(None)
        try:
            self._remember_methods(self._read_payment_methods())
        except GatewayError as error:
            # Every view of the payment page asks; a gateway in trouble must not hold each of them to the deadline.
            self._methods_failure = error
            self._methods_fresh_until = self._clock() + _STALE_SECONDS
            raise

    def _refresh_methods(self) -> None:
        # Set before asking, so that meanwhile other threads serve the last known list.
        self._methods_fresh_until = self._clock() + _STALE_SECONDS
        try:
            self._remember_methods(self._read_payment_methods())
        except GatewayError as error:
            logger.warning("The payment methods could not be refreshed, so the last known ones are used: %s", error)

    def _remember_methods(self, methods: tuple[PaymentMethod, ...]) -> None:
        self._methods = methods
        self._methods_fresh_until = self._clock() + self._cache_seconds

    def _read_payment_methods(self) -> tuple[PaymentMethod, ...]:
        return self._http.read(self._call("list_payment_methods", "/payment_methods", codec.parse_payment_methods))

    def list_transactions(self, invoice_ids: Sequence[str]) -> tuple[Transaction, ...]:
        """List the transactions of these invoices, each once, and of no other (C31).

        All pages together share one deadline.

        Raises:
            OversizedAnswerError: there are more than 2,000; a part of them would be taken for all.
        """
        if not invoice_ids:
            # An empty filter would ask for every transaction of the merchant.
            return ()
        name = "list_transactions"
        read_page = partial(self._read_transactions, name, invoice_ids, self._http.start())
        return pick_transactions(iterate_pages(read_page, if_more=OversizedAnswerError(name)), invoice_ids)

    def list_newest_transactions(
        self, invoice_ids: Sequence[str], *, page: int = 1, limit: int = PAGE_LIMIT
    ) -> TransactionPage:
        """List one page of the transactions of these invoices, newest first, and of no other.

        One that cannot be read is logged and left out, since it must not hide what others have paid.
        What arrives meanwhile moves the others on, so that the next page may repeat some of this one and misses none.
        """
        if not invoice_ids:
            return TransactionPage()
        found = self._read_transactions(
            "list_newest_transactions",
            invoice_ids,
            self._http.start(),
            page,
            limit=limit,
            query=_NEWEST_FIRST,
            parse=codec.parse_readable_transactions,
        )
        return make_transaction_page(found, invoice_ids, number=page, limit=limit)

    def _read_transactions(
        self,
        name: str,
        invoice_ids: Sequence[str],
        deadline: float,
        page: int,
        *,
        limit: int = PAGE_LIMIT,
        query: tuple[tuple[str, str], ...] = (),
        parse: Callable[[object], Page[Transaction]] = codec.parse_transactions,
    ) -> Page[Transaction]:
        call = self._call(
            name,
            f"/merchants/{self._merchant}/transactions/list",
            parse,
            method="POST",
            query=(("page", str(page)), ("limit", str(limit)), *query),
            body=codec.format_transaction_filter(invoice_ids),
        )
        return self._http.read(call, deadline=deadline)

    def get_transaction(self, transaction_id: str) -> Transaction:
        """Read a transaction. An answer about another one is a ``MalformedAnswerError``."""
        name = "get_transaction"
        parse = _expecting(codec.parse_transaction, lambda found: found.transaction_id == transaction_id)
        path = f"/merchants/{self._merchant}/transactions/{_quote(name, transaction_id)}"
        return self._http.read(self._call(name, path, parse))

    def get_merchant(self) -> Merchant:
        """Read our merchant, with the URL of the registered webhook."""
        return self._http.read(self._call("get_merchant", f"/merchants/{self._merchant}", codec.parse_merchant))

    def register_webhook(self, url: str, secret: str, bearer_token: str) -> str:
        """Register the merchant's one webhook in place of any other, and return its token (C23, C24). Never retried.

        Raises:
            ConfigurationError: for a bearer token that no header can carry; so do the two methods below.
        """
        call = self._webhook_call(
            "register_webhook",
            codec.parse_webhook_token,
            bearer_token,
            method="POST",
            body=codec.format_webhook(url=url, secret=secret),
            secrets=(secret,),
        )
        return self._http.write(call)

    def get_webhook(self, bearer_token: str) -> WebhookRegistration:
        """Read the registered webhook; ``NotFoundError`` if there is none."""
        return self._http.read(self._webhook_call("get_webhook", codec.parse_webhook_registration, bearer_token))

    def delete_webhook(self, bearer_token: str) -> None:
        """Remove the registered webhook at once; hints that the gateway still holds may be lost. Never retried."""
        self._http.write(self._webhook_call("delete_webhook", lambda answer: None, bearer_token, method="DELETE"))

    def _webhook_call(
        self,
        name: str,
        parse: Callable[[object], Result],
        bearer_token: str,
        *,
        method: str = "GET",
        body: bytes | None = None,
        secrets: tuple[str, ...] = (),
    ) -> Call[Result]:
        """Make a call that only a login may make; the double e of its path is the gateway's."""
        credential = Credential(
            bearer_token,
            name="bearer token",
            renewal="It ends with its login session: log in to the dashboard and copy the new one.",
            is_bearer=True,
        )
        return Call(
            name=name,
            path=f"/weebhook/{self._merchant}",
            parse=parse,
            credential=credential,
            method=method,
            body=body,
            secrets=secrets,
        )

    def _call(
        self,
        name: str,
        path: str,
        parse: Callable[[object], Result],
        *,
        method: str = "GET",
        query: tuple[tuple[str, str], ...] = (),
        body: bytes | None = None,
    ) -> Call[Result]:
        return Call(
            name=name, path=path, parse=parse, credential=self._credential, method=method, query=query, body=body
        )


def _quote(name: str, segment: str) -> str:
    """Quote an id for a path. One that could change the path even so is refused before anything is sent."""
    if not is_id(segment):
        raise BadRequestError(name, detail="an id must have 1 to 64 printable characters")
    return quote(segment, safe="")


def _expecting(parse: Callable[[object], Result], is_asked: Callable[[Result], bool]) -> Callable[[object], Result]:
    """Make a parser that refuses an answer about something else."""

    def parse_asked(data: object) -> Result:
        answer = parse(data)
        if not is_asked(answer):
            raise CodecError("the answer is about something else than was asked for")
        return answer

    return parse_asked
