"""Creating an invoice at the gateway, and never twice for one choice.

T0 saves the intent, then the gateway is asked for an invoice; T1 saves its id. An address is asked for only after that,
so nobody can pay an invoice that its payable does not know.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Generic, TypeVar

from ..errors import GatewayError, MalformedAnswerError, RefTakenError
from ..gateway.models import InvoiceType, PaymentMethod
from .entries import Clock, Intent, Payable
from .gateway import Gateway
from .ledger import Ledger

__all__ = ["InvoiceCreator", "make_intent"]

AnyPayable = TypeVar("AnyPayable", bound=Payable)

_INTENT_SECONDS = 60

logger = logging.getLogger("flask_iterapay")


class InvoiceCreator(Generic[AnyPayable]):
    """Creates invoices of one type for the payables of a ledger.

    ``record`` puts the id of the invoice that was made into its payable (T1); ``abandon`` says that none came of the
    intent. Both are pure. ``make_token`` returns a fresh random string for the ``ref`` that a description carries.
    """

    def __init__(
        self,
        *,
        ledger: Ledger[AnyPayable],
        gateway: Gateway,
        clock: Clock,
        make_token: Callable[[], str],
        invoice_type: InvoiceType,
        record: Callable[[AnyPayable, str, datetime], AnyPayable],
        abandon: Callable[[AnyPayable, datetime], AnyPayable],
    ) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._clock = clock
        self._make_token = make_token
        self._invoice_type = invoice_type
        self._record = record
        self._abandon = abandon

    def create(
        self, entry_id: str, *, description: str, intend: Callable[[AnyPayable, str, datetime], AnyPayable]
    ) -> AnyPayable:
        """Create the invoice that ``intend`` wants; return the payable as it stands then.

        ``intend`` puts an intent with the given ``ref`` into the payable (T0), or leaves it as it is where no invoice
        is needed, or another is being made. What it raises passes through.

        Raises:
            GatewayError: no invoice was made, or nobody knows of it; its address is never given out.
            StoreError: the store failed.
        """
        ref = self._make_token()
        intended = self._ledger.change(entry_id, lambda payable: intend(payable, ref, self._clock()))
        if intended.intent is None or intended.intent.ref != ref:
            return intended
        try:
            invoice_id = self._gateway.create_invoice(
                amount=intended.intent.amount,
                method_id=intended.intent.method.method_id,
                description=f"{description or entry_id} [{ref}]",
                invoice_type=self._invoice_type,
            )
            return self._ledger.change(entry_id, lambda payable: self._with_new_invoice(payable, invoice_id, ref))
        except RefTakenError as error:
            self._give_up(entry_id, ref)
            raise MalformedAnswerError("create_invoice", detail="the gateway gave an id that is in use") from error
        except GatewayError:
            self._give_up(entry_id, ref)
            raise

    def _with_new_invoice(self, payable: AnyPayable, invoice_id: str, ref: str) -> AnyPayable:
        if payable.intent is None or payable.intent.ref != ref:
            # The intent was overtaken (it expired, or the amount changed): the invoice is an orphan that nobody can
            # pay, because nobody will ever be shown its address.
            logger.info("%s %r: invoice %s came too late and is left alone", payable.KIND, payable.entry_id, invoice_id)
            return payable
        if invoice_id in payable.invoice_ids:
            raise RefTakenError(f"invoice {invoice_id!r} is an older one of this {payable.KIND}")
        return self._record(payable, invoice_id, self._clock())

    def _give_up(self, entry_id: str, ref: str) -> None:
        def compute(payable: AnyPayable) -> AnyPayable:
            is_ours = payable.intent is not None and payable.intent.ref == ref
            return self._abandon(payable, self._clock()) if is_ours else payable

        self._ledger.change(entry_id, compute)


def make_intent(ref: str, method: PaymentMethod, amount: Decimal, now: datetime) -> Intent:
    """The intent to create an invoice over ``amount`` USD; whoever has not done so in a minute is taken for dead."""
    return Intent(ref=ref, method=method, amount=amount, expires_at=now + timedelta(seconds=_INTENT_SECONDS))
