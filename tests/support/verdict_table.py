"""The whole decision table as text: every combination is settled, and rows with one outcome are folded together."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import cache
from itertools import product

from builders import QUOTE_SECONDS, make_order, make_record, make_snapshot, make_transaction
from msgspec.structs import replace

from flask_iterapay.gateway.models import InvoiceState
from flask_iterapay.orders.lifecycle import settle
from flask_iterapay.orders.models import Order, Policy, Snapshot

STATES = {
    InvoiceState.OPEN: "pending",
    InvoiceState.CONFIRMING: "processing",
    InvoiceState.UNDERPAID: "partially_paid",
    InvoiceState.PAID: "paid",
    InvoiceState.OVERPAID: "overpaid",
    InvoiceState.EXPIRED: "expired",
    InvoiceState.CLOSED: "archived",
    InvoiceState.UNKNOWN: "half_past_nine",
}
AML = {"passed": True, "failed": False, "unknown": None}
TRANSACTIONS = {
    "not readable": None,
    "none": (),
    "pending": ("pending",),
    "confirmed": ("confirmed",),
    "settled": ("settled",),
    "failed": ("failed",),
    "flagged": ("flagged",),
    "unknown state": ("half_past_nine",),
    "pending + failed": ("pending", "failed"),
    "confirmed + failed": ("confirmed", "failed"),
    "settled + flagged": ("settled", "flagged"),
    "too little": (make_transaction("confirmed", amount="0.01"),),
    "late": (make_transaction("settled", seen=QUOTE_SECONDS + 3601),),
}
TIMES = {"quote runs": 120, "quote over": QUOTE_SECONDS, "waited": QUOTE_SECONDS + 1800}
POLICIES = {"require": Policy(), "unless_failed": Policy(is_aml_required=False)}

Case = tuple[str, ...]


def list_cases() -> list[Case]:
    """Every combination of an invoice's state, AML, transactions, time and policy, by their names in the table."""
    return list(product(STATES, AML, TRANSACTIONS, TIMES, POLICIES))


@cache
def settle_case(case: Case) -> Order:
    """The order of one invoice that such a snapshot makes."""
    snapshot, (_, _, _, time, policy) = make_case(case), case
    waits_since = snapshot.read_at - timedelta(seconds=1800) if time == "waited" else None
    order = make_order(make_record(unclear_since=waits_since))
    return settle(order, [snapshot], snapshot.read_at, POLICIES[policy])


def make_case(case: Case) -> Snapshot:
    """The snapshot that such a combination stands for."""
    state, aml, transactions, time, _ = case
    listed = TRANSACTIONS[transactions]
    snapshot = make_snapshot(STATES[InvoiceState(state)], *(listed or ()), read=TIMES[time], aml=AML[aml])
    return replace(snapshot, transactions=None) if listed is None else snapshot


def format_table() -> str:
    """The table as Markdown."""
    heads = ["invoice", "AML", "transactions", "time", "`AML` setting", "order", "hold reason"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    axes = [[str(name) for name in axis] for axis in (STATES, AML, TRANSACTIONS, TIMES, POLICIES)]
    for labels, outcome in _fold(axes, _outcome):
        lines.append(f"| {' | '.join([*labels, *outcome])} |")
    return "\n".join(lines)


def _outcome(case: Case) -> Case:
    order = settle_case(case)
    return f"`{order.status}`", f"`{order.hold_reason}`" if order.hold_reason else ""


def _fold(axes: Sequence[list[str]], outcome: Callable[[Case], Case], case: Case = ()) -> Iterator[tuple[Case, Case]]:
    """Values of an axis that make no difference, whatever the axes after it say, share their rows."""
    if not axes:
        yield (), outcome(case)
        return
    first, rest = axes[0], axes[1:]
    groups: dict[tuple[Case, ...], list[str]] = {}
    for value in first:
        groups.setdefault(tuple(outcome((*case, value, *tail)) for tail in product(*rest)), []).append(value)
    for values in groups.values():
        for labels, result in _fold(rest, outcome, (*case, values[0])):
            yield (_label(values, first), *labels), result


def _label(values: list[str], axis: list[str]) -> str:
    others = [value for value in axis if value not in values]
    if not others:
        return "any"
    return f"all but {', '.join(others)}" if len(others) <= 3 < len(values) else ", ".join(values)
