"""Mistakes that a ``settle`` could make, to show that the rules about sequences bite."""

from datetime import datetime

from msgspec.structs import replace

from flask_iterapay.gateway.models import InvoiceState
from flask_iterapay.orders.lifecycle import settle
from flask_iterapay.orders.models import Anomaly, EventName, Order, OrderStatus, Policy, Snapshot

Found = tuple[Snapshot, ...]


def merge_fields(order: Order, found: Found, now: datetime, policy: Policy) -> Order:
    """Fills what a snapshot lacks from the one before it."""

    def fill(snapshot: Snapshot) -> Snapshot:
        old = next((r.snapshot for r in order.invoices if r.invoice_id == snapshot.invoice.invoice_id), None)
        aml = snapshot.invoice.has_passed_aml
        if old is None or aml is not None:
            return snapshot
        return replace(snapshot, invoice=replace(snapshot.invoice, has_passed_aml=old.invoice.has_passed_aml))

    return settle(order, [fill(snapshot) for snapshot in found], now, policy)


def take_back(order: Order, found: Found, now: datetime, policy: Policy) -> Order:
    """Lets an expired invoice end a paid order."""
    settled = settle(order, found, now, policy)
    is_ended = any(snapshot.invoice.state is InvoiceState.EXPIRED for snapshot in found)
    return replace(settled, status=OrderStatus.EXPIRED) if is_ended and order.status is OrderStatus.PAID else settled


def ignore_amount(order: Order, found: Found, now: datetime, policy: Policy) -> Order:
    """Does not look at what the invoice is about."""
    blank = [replace(snapshot, invoice=replace(snapshot.invoice, amount=None)) for snapshot in found]
    return settle(order, blank, now, policy)


def trust_transfers(order: Order, found: Found, now: datetime, policy: Policy) -> Order:
    """Takes a confirmed transfer for a payment."""

    def believe(snapshot: Snapshot) -> Snapshot:
        is_confirmed = any(item.spelling == "confirmed" for item in snapshot.transactions or ())
        invoice = replace(snapshot.invoice, state=InvoiceState.PAID, has_passed_aml=True)
        return replace(snapshot, invoice=invoice) if is_confirmed else snapshot

    return settle(order, [believe(snapshot) for snapshot in found], now, policy)


def forget_order(order: Order, found: Found, now: datetime, policy: Policy) -> Order:
    """Lets a stale snapshot replace a fresh one."""
    blank = order.invoices if not found else tuple(replace(record, snapshot=None) for record in order.invoices)
    return settle(replace(order, invoices=blank), found, now, policy)


def tell_twice(order: Order, found: Found, now: datetime, policy: Policy) -> Order:
    """Tells of a payment every time that it is seen."""
    settled = settle(order, found, now, policy)
    if order.status is not OrderStatus.PAID or not found:
        return settled
    again = replace(settled.events[-1], key=f"order.paid:1042:{len(settled.events)}", name=EventName.PAID)
    return replace(settled, events=(*settled.events, again))


def expire_with_money(order: Order, found: Found, now: datetime, policy: Policy) -> Order:
    """Takes ``expired`` for the end, whatever is on the invoice."""
    bare = [
        replace(snapshot, transactions=()) if snapshot.invoice.state is InvoiceState.EXPIRED else snapshot
        for snapshot in found
    ]
    return settle(order, bare, now, policy)


def forget_money(order: Order, found: Found, now: datetime, policy: Policy) -> Order:
    """Takes transactions that cannot be listed for none."""
    forgotten = tuple(replace(record, had_money=False) for record in order.invoices)
    return settle(replace(order, invoices=forgotten), found, now, policy)


def release(order: Order, found: Found, now: datetime, policy: Policy) -> Order:
    """Lets every hold end by itself once the gateway has another opinion."""
    settled = settle(replace(order, hold_reason=None), found, now, policy)
    has_changed = order.hold_reason is not None and settled.hold_reason is not order.hold_reason
    return settled if has_changed else settle(order, found, now, policy)


def lose_overpaid(order: Order, found: Found, now: datetime, policy: Policy) -> Order:
    """Does not know that overpaid is paid."""
    kept = [snapshot for snapshot in found if snapshot.invoice.state is not InvoiceState.OVERPAID]
    return settle(order, kept, now, policy)


def write_each_time(order: Order, found: Found, now: datetime, policy: Policy) -> Order:
    """Writes history although nothing changed."""
    settled = settle(order, found, now, policy)
    return replace(settled, history=(*settled.history, *settled.history[-1:]))


def drop_events(order: Order, found: Found, now: datetime, policy: Policy) -> Order:
    """Keeps the newest event alone."""
    settled = settle(order, found, now, policy)
    return replace(settled, events=settled.events[-1:])


def tell_nobody(order: Order, found: Found, now: datetime, policy: Policy) -> Order:
    """Takes a paid order for finished, and does not look at it again."""
    return order if order.status is OrderStatus.PAID else settle(order, found, now, policy)


def tell_anomalies_again(order: Order, found: Found, now: datetime, policy: Policy) -> Order:
    """Forgets which contradictions it has told of."""
    return settle(replace(order, anomalies=()), found, now, policy)


def keep_failures_quiet(order: Order, found: Found, now: datetime, policy: Policy) -> Order:
    """Tells nobody when money fails that has paid an order."""
    return _hush(Anomaly.FAILED_AFTER_PAID, order, settle(order, found, now, policy))


def keep_second_payments_quiet(order: Order, found: Found, now: datetime, policy: Policy) -> Order:
    """Tells nobody when an order is paid once more."""
    return _hush(Anomaly.SECOND_INVOICE_PAID, order, settle(order, found, now, policy))


def _hush(anomaly: Anomaly, order: Order, settled: Order) -> Order:
    if order.status is not OrderStatus.PAID or anomaly not in settled.anomalies:
        return settled
    return replace(settled, anomalies=order.anomalies, events=order.events)
