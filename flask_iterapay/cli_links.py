"""``flask iterapay link ...``: a person's hand on payment links and on what comes in over them."""

from collections.abc import Iterator, Sequence
from itertools import islice
from shlex import quote

import click
from flask.cli import AppGroup

from .errors import GatewayError
from .links.models import Contribution, ContributionStatus, Link, LinkStatus, Visit
from .money import format_usd
from .orders.entries import EventState
from .terminal import format_moment, or_fail, print_json, print_outcome, signed, stored_fields
from .web.state import current_iterapay

__all__ = ["link_cli"]

_STATUSES = [status.value for status in LinkStatus]
_PAYMENT_STATUSES = [status.value for status in ContributionStatus]
_NEWEST = 1000
_SHOWN = 50

link_cli = AppGroup("link", help="Payment links, and what comes in over them.")


@link_cli.command("list")
@click.option("--status", type=click.Choice(_STATUSES), help="Only links of this status.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many links.")
@click.option("--json", "is_json", is_flag=True, help="Everything that is stored, as a JSON list.")
def list_links(*, status: str | None, limit: int, is_json: bool) -> None:
    """List payment links, newest first."""
    found = current_iterapay.links.iterate(label=status)
    listed = or_fail(lambda: list(islice(found, limit)))
    if is_json:
        print_json([stored_fields(link) for link in listed])
        return
    if not listed:
        click.echo("no such links", err=True)
    for link in listed:
        trouble = f"  unreachable since {format_moment(link.unreachable_since)}" if link.unreachable_since else ""
        click.echo(f"{link.created_at:%Y-%m-%d %H:%M}  {link.status:<6}  {_amount(link):>16}  {link.link_id}{trouble}")


@link_cli.command("show")
@click.argument("link_id", metavar="LINK")
@click.option("--json", "is_json", is_flag=True, help="Everything that is stored, and the page's URL, as JSON.")
def show_link(*, link_id: str, is_json: bool) -> None:
    """Show a link: its terms, its page, its invoices, when it is read, and what people did with it."""
    link = or_fail(current_iterapay.links.get, link_id)
    url = or_fail(current_iterapay.link_url, link)
    if is_json:
        print_json({"url": url, **stored_fields(link)})
        return
    for name, value in _describe(link, url):
        if value:
            click.echo(f"{name + ':':<19} {value}")
    click.echo("invoices:")
    for record in link.invoices:
        click.echo(f"  {record.invoice_id}  {record.method.name:<14}  {format_usd(record.amount)} USD")
    if not link.invoices:
        click.echo("  none yet; the first visitor's choice makes one")
    click.echo("history:")
    for step in link.history:
        note = f" ({step.note})" if step.note else ""
        click.echo(f"  {format_moment(step.at)}  {step.reason}, by {step.actor}{note}")


@link_cli.command("payments")
@click.argument("link_id", metavar="LINK")
@click.option("--status", type=click.Choice(_PAYMENT_STATUSES), help="Only payments of this status.")
@click.option("--failed", "is_failed", is_flag=True, help="Only those with an event whose handlers failed for good.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many payments.")
@click.option("--json", "is_json", is_flag=True, help="Everything that is stored, as a JSON list.")
def list_payments(*, link_id: str, status: str | None, is_failed: bool, limit: int, is_json: bool) -> None:
    """List what came in over a link, newest first.

    Each line ends with the id of the contribution, for `resolve` and `retry`. An amount has no unit unless the gateway
    tells one. --status and --failed look through all payments until the limit is reached.
    """
    or_fail(current_iterapay.links.get, link_id)
    found = (
        item
        for item in current_iterapay.links.iterate_contributions(link_id)
        if (status is None or item.status == status) and (not is_failed or _failed_events(item))
    )
    listed = or_fail(lambda: list(islice(found, limit)))
    if is_json:
        print_json([{"contribution_id": item.contribution_id, **stored_fields(item)} for item in listed])
        return
    if not listed:
        click.echo("no such payments", err=True)
    _print_payments(listed)


@link_cli.command("visit")
@click.argument("reference", metavar="REFERENCE")
def show_visit(*, reference: str) -> None:
    """Show the visit whose reference a visitor quotes: where he was told to pay, and which payments are known his."""
    visit = or_fail(current_iterapay.links.get_visit, reference.strip().upper())
    click.echo(f"link:      {visit.link_id}")
    click.echo(f"begun:     {format_moment(visit.created_at)}")
    click.echo(f"method:    {visit.method.name} ({visit.method.ticker} on {visit.method.network})")
    click.echo(f"address:   {visit.address or 'none'}")
    click.echo(f"payments:  {_tell_attribution(visit)}")
    for payment in visit.payments:
        contribution_id = Contribution.make_id(str(visit.invoice_id), payment.transaction_id)
        amount = _with_unit(payment.amount, payment.unit)
        click.echo(f"  {payment.sent_at:%Y-%m-%d %H:%M}  {payment.status:<10}  {amount:>20}  {contribution_id}")


@link_cli.command("close")
@click.argument("link_id", metavar="LINK")
@signed
def close_link(*, link_id: str, actor: str, note: str) -> None:
    """Close a link: it gives out no more addresses.

    It stays watched, since visitors keep the addresses that they were given.
    """
    before = or_fail(current_iterapay.links.get, link_id)
    _print_status(before, or_fail(current_iterapay.links.close, link_id, actor=actor, note=note))


@link_cli.command("reopen")
@click.argument("link_id", metavar="LINK")
@signed
def reopen_link(*, link_id: str, actor: str, note: str) -> None:
    """Open a link that was closed."""
    before = or_fail(current_iterapay.links.get, link_id)
    _print_status(before, or_fail(current_iterapay.links.reopen, link_id, actor=actor, note=note))


@link_cli.command("sync")
@click.argument("link_id", metavar="LINK")
def sync_link(*, link_id: str) -> None:
    """Read the gateway for a link now, say what is new, and run the handlers that are due.

    Looks at the newest 1,000 payments; the rest is left to `reconcile`.
    """
    links, began_at = current_iterapay.links, current_iterapay.clock()
    before = or_fail(links.get, link_id)
    failure = or_fail(_sync, link_id)
    newest = or_fail(lambda: list(islice(links.iterate_contributions(link_id), _NEWEST)))
    _print_news([item for item in newest if item.changed_at >= began_at], link_id)
    if open_ids := [item.contribution_id for item in reversed(newest) if item.has_open_events]:
        _dispatch(open_ids)
    if failure:
        raise click.ClickException(str(failure))
    _print_rest(before, or_fail(links.get, link_id))


@link_cli.command("resolve")
@click.argument("contribution_id", metavar="CONTRIBUTION")
@click.option("--accept", "is_accepted", is_flag=True, help="Take the money as received.")
@click.option("--refuse", "is_refused", is_flag=True, help="Turn the money down for good.")
@signed
def resolve_contribution(*, contribution_id: str, is_accepted: bool, is_refused: bool, actor: str, note: str) -> None:
    """Decide about a payment on hold, or one that is never confirmed: it becomes received, or refused.

    No money is sent back: what was turned down is refunded in the gateway's dashboard.
    """
    if is_accepted is is_refused:
        raise click.UsageError("say --accept or --refuse")
    decided = or_fail(current_iterapay.links.resolve, contribution_id, is_accepted=is_accepted, actor=actor, note=note)
    click.echo(f"contribution {contribution_id} is {decided.status}")
    _dispatch([contribution_id])


@link_cli.command("retry")
@click.argument("contribution_id", metavar="CONTRIBUTION")
@signed
def retry_contribution(*, contribution_id: str, actor: str, note: str) -> None:
    """Run the handlers of a payment's events again that failed for good, or that wait for another try."""
    or_fail(current_iterapay.links.retry, contribution_id, actor=actor, note=note)
    if _dispatch([contribution_id]):
        raise SystemExit(1)


def _sync(link_id: str) -> GatewayError | None:
    """Read the gateway, and return what went wrong there, since what was read before that counts."""
    try:
        current_iterapay.links.sync(link_id)
    except GatewayError as error:
        return error
    return None


def _print_news(news: Sequence[Contribution], link_id: str) -> None:
    click.echo(f"new or changed: {len(news)}" if news else "nothing is new")
    _print_payments(news[:_SHOWN])
    if len(news) > _SHOWN:
        click.echo(f"... and {len(news) - _SHOWN} more: flask iterapay link payments {quote(link_id)}")


def _print_rest(before: Link, link: Link) -> None:
    """Say why nothing was read, or what has yet to be."""
    if not link.invoices:
        click.echo("it has no invoice yet, so there is nothing to read")
    elif link.read_at == before.read_at:
        click.echo("it was not read, because somebody else is reading it")
    elif link.backlog:
        click.echo("there is more to read: run this again, or leave it to `reconcile`")


def _dispatch(contribution_ids: Sequence[str]) -> bool:
    """Run what is open, print how it went, and return whether something still is."""
    for contribution_id in contribution_ids:
        or_fail(current_iterapay.links.dispatch, contribution_id)
    entries = [or_fail(current_iterapay.links.get_contribution, item) for item in contribution_ids]
    return print_outcome(entries, advice="see the log and `link payments`")


def _print_status(before: Link, link: Link) -> None:
    is_same = len(before.history) == len(link.history)
    click.echo(f"link {link.link_id} is {link.status}{' already; nothing was written' if is_same else ''}")


def _print_payments(payments: Sequence[Contribution]) -> None:
    for item in payments:
        state = f"{item.status} ({item.hold_reason})" if item.hold_reason else str(item.status)
        sent = f"{item.created_at:%Y-%m-%d %H:%M}  {state:<23}  {_with_unit(item.amount, item.unit):>20}"
        marks = [f"  failed: {name}" for name in _failed_events(item)] + [f"  {name}" for name in item.anomalies]
        origin = f"{item.method.name:<14}  {item.reference or '-':<14}"
        click.echo(f"{sent}  {origin}  {item.contribution_id}{''.join(marks)}")


def _failed_events(contribution: Contribution) -> list[str]:
    return [event.name for event in contribution.events if event.state is EventState.FAILED]


def _with_unit(amount: str, unit: str | None) -> str:
    return f"{amount} {unit}" if unit else amount


def _amount(link: Link) -> str:
    return "any" if link.minimum is None else f"from {format_usd(link.minimum)} USD"


def _describe(link: Link, url: str) -> Iterator[tuple[str, str | None]]:
    yield "link", link.link_id
    yield "status", link.status
    yield "description", link.description
    yield "amount", _amount(link)
    yield "methods", "all that the shop offers" if link.method_ids is None else ", ".join(link.method_ids)
    yield "public list", "yes" if link.has_public_list else "no"
    yield "page", url
    times = {
        "created": link.created_at,
        "changed": link.changed_at,
        "visited": link.visited_at,
        "read": link.read_at,
        "next read": link.due_check_at,
        "unreachable since": link.unreachable_since,
    }
    yield from ((name, format_moment(at) if at else None) for name, at in times.items())
    if link.backlog:
        down_to = link.backlog.down_to
        end = f"down to {format_moment(down_to)}" if down_to else "down to the oldest"
        yield "backlog", f"transactions from page {link.backlog.page} on, {end}"


def _tell_attribution(visit: Visit) -> str:
    """Say whether a payment can be told to be this visitor's, and why not."""
    if visit.can_tell_payments:
        return "told by the address, where the gateway names it" + ("" if visit.payments else "; none is known")
    if visit.address:
        return "cannot be told, since others have the same address; look for amount and time in `link payments`"
    if visit.is_refused:
        return "none, since the gateway gives no address for this method"
    return "none, since no address was given out yet"
