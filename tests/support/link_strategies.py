"""Links, visits, contributions and tallies for Hypothesis: whatever their types let through."""

from hypothesis import strategies as st
from strategies import amounts, claims, ids, methods, names, plain_amounts, records, texts, times

from flask_iterapay.gateway.models import TransactionState
from flask_iterapay.links.models import (
    Backlog,
    Contribution,
    ContributionAnomaly,
    ContributionStatus,
    ContributionStep,
    Link,
    LinkEvent,
    LinkStatus,
    Tally,
    Visit,
    VisitPayment,
)
from flask_iterapay.orders.entries import EventName, EventState, Intent, Note
from flask_iterapay.orders.models import HoldReason

__all__ = ["contributions", "links", "tallies", "visits"]

flags = st.booleans()
versions = st.integers(min_value=0, max_value=10**6)
statuses = st.sampled_from(ContributionStatus)
backlogs = st.builds(Backlog, page=st.integers(1, 10**6), down_to=st.none() | times, awaited_from=st.none() | times)
intents = st.builds(Intent, ref=texts, method=methods, amount=amounts, expires_at=times)
notes = st.builds(Note, at=times, reason=texts, actor=texts, note=texts)
steps = st.builds(ContributionStep, at=times, reason=texts, actor=texts, note=texts, status=statuses)


def some(items: st.SearchStrategy) -> st.SearchStrategy:
    """A few of them, as a tuple."""
    return st.lists(items, max_size=2).map(tuple)


links = st.builds(
    Link,
    link_id=texts,
    description=texts,
    minimum=st.none() | amounts,
    method_ids=st.none() | some(texts),
    slug=st.none() | texts,
    has_public_list=flags,
    status=st.sampled_from(LinkStatus),
    visited_at=st.none() | times,
    read_from=st.none() | times,
    backlog=st.none() | backlogs,
    history=some(notes),
    created_at=times,
    changed_at=times,
    invoices=st.lists(records, max_size=2, unique_by=lambda record: record.invoice_id).map(tuple),
    intent=st.none() | intents,
    claim=st.none() | claims,
    next_check_at=st.none() | times,
    read_at=st.none() | times,
    unreachable_since=st.none() | times,
    version=versions,
)
link_events = st.builds(
    LinkEvent,
    key=texts,
    name=st.sampled_from(EventName),
    occurred_at=times,
    reason=st.none() | texts,
    state=st.sampled_from(EventState),
    done_by=names,
    attempts=st.integers(0, 12),
    next_attempt_at=st.none() | times,
    is_leased=flags,
    link_id=texts,
    contribution_id=texts,
    transaction_id=texts,
    amount=plain_amounts,
    unit=st.none() | texts,
    method=methods,
    reference=st.none() | texts,
)
contributions = st.builds(
    Contribution,
    link_id=texts,
    invoice_id=ids,
    transaction_id=texts,
    method=methods,
    amount=plain_amounts,
    state=st.sampled_from(TransactionState),
    spelling=texts,
    read_at=times,
    unit=st.none() | texts,
    address=st.none() | texts,
    reference=st.none() | texts,
    tx_hash=st.none() | texts,
    confirmed_at=st.none() | times,
    status=statuses,
    hold_reason=st.none() | st.sampled_from(HoldReason),
    received_at=st.none() | times,
    unclear_since=st.none() | times,
    next_check_at=st.none() | times,
    is_decided=flags,
    anomalies=st.lists(st.sampled_from(ContributionAnomaly), unique=True).map(tuple),
    events=some(link_events),
    history=some(steps),
    created_at=times,
    changed_at=times,
    version=versions,
)
payments = st.builds(
    VisitPayment,
    transaction_id=texts,
    amount=plain_amounts,
    unit=st.none() | texts,
    status=statuses,
    sent_at=times,
)
visits = st.builds(
    Visit,
    reference=texts,
    link_id=texts,
    method=methods,
    invoice_id=st.none() | ids,
    address=st.none() | texts,
    pay_amount=st.none() | plain_amounts,
    is_first_holder=flags,
    is_address_shared=flags,
    asked_until=st.none() | times,
    is_refused=flags,
    payments=some(payments),
    created_at=times,
    changed_at=times,
    version=versions,
)
tallies = st.builds(
    Tally,
    tally_id=texts,
    begun_at=times,
    count=st.integers(0, 10_000),
    created_at=times,
    changed_at=times,
    version=versions,
)
