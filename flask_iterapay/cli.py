"""``flask iterapay ...``: parses and prints. The work is done by the service, the store and the client."""

import sys
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import click
from flask.cli import AppGroup

from .cli_links import link_cli
from .orders.entries import Entry
from .orders.explain import explain as explain_order
from .orders.models import EventState, HoldReason, Order, OrderStatus
from .terminal import or_fail, print_json, print_outcome, signed, stored_fields
from .web.state import current_iterapay

__all__ = ["cli"]

_STATUSES = [status.value for status in OrderStatus]
_REASONS = [reason.value for reason in HoldReason]

cli = AppGroup("iterapay", help="Crypto payments through IteraPay.")
cli.add_command(link_cli)


@cli.command("init-db")
def init_db() -> None:
    """Create the tables of the order store, if they are missing."""
    create_tables = getattr(current_iterapay.store, "create_tables", None)
    if create_tables is None:
        raise click.ClickException("this order store has no tables to create")
    or_fail(create_tables)
    click.echo("The tables are there.")


@cli.command()
def methods() -> None:
    """List the payment methods that the gateway offers; those that customers can choose bear a mark."""
    offered = {method.method_id for method in or_fail(current_iterapay.service.offered_methods)}
    for method in or_fail(current_iterapay.client.list_payment_methods):
        mark = "*" if method.method_id in offered else " "
        click.echo(f"{mark} {method.method_id!s:>4}  {method.name:<14} {method.ticker} on {method.network}")


@cli.group()
def webhook() -> None:
    """Show or register the merchant's one webhook."""


@webhook.command("show")
def webhook_show() -> None:
    """Compare the URL that is registered at the gateway with this app's."""
    registered = or_fail(current_iterapay.client.get_merchant).webhook_url
    ours = or_fail(_webhook_url)
    click.echo(f"registered: {registered or 'none'}")
    click.echo(f"this app:   {ours or 'unknown, because ITERAPAY_PUBLIC_URL is not set'}")
    if ours is None and current_iterapay.settings.is_sandbox:
        click.echo("The sandbox needs neither: it delivers to this app from within.")
        return
    if ours is None:
        raise click.ClickException("set ITERAPAY_PUBLIC_URL first")
    if registered != ours:
        raise click.ClickException("they differ: run `flask iterapay webhook register`")


@webhook.command("register")
@click.option("--yes", "is_confirmed", is_flag=True, help="Replace another URL; there is only one per merchant.")
@click.option("--show-token", is_flag=True, help="Print the token that the gateway answers. It is a secret.")
def webhook_register(*, is_confirmed: bool, show_token: bool) -> None:
    """Register this app's webhook with the newest secret.

    Asks for the merchant's bearer token (from the dashboard), or reads it from standard input. It is used once and
    stored nowhere.
    """
    ours = or_fail(_webhook_url)
    if ours is None:
        raise click.ClickException("set ITERAPAY_PUBLIC_URL first: the gateway needs an absolute URL")
    if urlsplit(ours).scheme != "https":
        raise click.ClickException(f"the gateway delivers to https only, and {ours} is not")
    client = current_iterapay.client
    registered = or_fail(client.get_merchant).webhook_url
    if registered not in (None, "", ours) and not is_confirmed:
        raise click.ClickException(f"{registered} is registered; repeat with --yes to replace it")
    token = or_fail(client.register_webhook, ours, current_iterapay.settings.webhook_secrets[0], _read_bearer_token())
    click.echo(f"Registered {ours}")
    if show_token:
        click.echo(f"token: {token}")


@cli.command()
@click.option("--every", "every_seconds", type=click.IntRange(1), help="Repeat after a pause of so many seconds.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="Orders and links per round.")
def reconcile(*, every_seconds: int | None, limit: int) -> None:
    """Finish what nobody finished: read the orders and links that are due, run the handlers of open events.

    Run it every minute from cron, or leave it running with --every. Several at once are fine.
    """
    if every_seconds is None:
        raise SystemExit(1 if _reconcile_once(limit) else 0)
    pause = threading.Event()
    while True:
        try:
            _reconcile_once(limit)
        except click.ClickException as error:
            # The database may be back in a moment, and this command is what finishes the rest then.
            error.show()
        pause.wait(every_seconds)


@cli.command()
def doctor() -> None:
    """Look at database, gateway, handlers and backlog, and say what is in the way. Changes nothing."""
    from .doctor import Level, examine  # only for this command

    levels = set()
    for finding in examine(current_iterapay._get_current_object()):  # type: ignore[attr-defined]
        click.echo(f"{finding.level:<8} {finding.text}")
        levels.add(finding.level)
    if Level.PROBLEM in levels:
        raise SystemExit(1)


@cli.command()
@click.option("--status", type=click.Choice(_STATUSES), help="Only orders of this status.")
@click.option("--reason", type=click.Choice(_REASONS), help="Only orders on hold for this reason.")
@click.option("--failed", "is_failed", is_flag=True, help="Only orders with an event whose handlers failed for good.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many orders.")
@click.option("--json", "is_json", is_flag=True, help="A JSON list, for programs.")
def orders(*, status: str | None, reason: str | None, is_failed: bool, limit: int, is_json: bool) -> None:
    """List orders, newest first. --reason and --failed look through all of them until the limit is reached."""
    if reason and status not in (None, OrderStatus.ON_HOLD):
        raise click.UsageError("only orders that are on_hold have a --reason")
    wanted = OrderStatus.ON_HOLD if reason else OrderStatus(status) if status else None
    found = (
        order
        for order in current_iterapay.service.iterate(label=wanted)
        if (reason is None or order.hold_reason == reason) and (not is_failed or _failed_keys(order))
    )
    listed = or_fail(lambda: list(islice(found, limit)))
    if is_json:
        print_json([_summary(order) for order in listed])
        return
    if not listed:
        click.echo("no such orders", err=True)
    for order in listed:
        state = f"{order.status} ({order.hold_reason})" if order.hold_reason else str(order.status)
        failed = f"  failed: {', '.join(_failed_keys(order))}" if _failed_keys(order) else ""
        click.echo(f"{order.created_at:%Y-%m-%d %H:%M}  {state:<28} {order.amount:>10}  {order.order_id}{failed}")


@cli.command()
@click.argument("order_id", metavar="ORDER")
@click.option("--json", "is_json", is_flag=True, help="Everything that is stored, as JSON.")
def show(*, order_id: str, is_json: bool) -> None:
    """Show an order: where it stands, its invoices and its events."""
    order = or_fail(current_iterapay.service.get, order_id)
    if is_json:
        print_json(stored_fields(order))
        return
    for name, value in _summary(order).items():
        if value:
            click.echo(f"{name + ':':<16} {', '.join(value) if isinstance(value, list) else value}")


@cli.command()
@click.argument("order_id", metavar="ORDER")
def explain(*, order_id: str) -> None:
    """Tell why an order is in its state, step by step, from what is stored."""
    order = or_fail(current_iterapay.service.get, order_id)
    for line in explain_order(order, now=current_iterapay.clock(), policy=current_iterapay.policy):
        click.echo(line)


@cli.command()
@click.argument("order_id", metavar="ORDER")
@click.option("--accept", "is_accepted", is_flag=True, help="Take the money as payment.")
@click.option("--cancel", "is_cancelled", is_flag=True, help="Turn the money down, and cancel the order.")
@click.option("--reason", type=click.Choice(_REASONS), help="Only if it is on hold for this reason.")
@signed
def resolve(*, order_id: str, is_accepted: bool, is_cancelled: bool, reason: str | None, actor: str, note: str) -> None:
    """Decide about an order on hold, or one whose money is never confirmed: it becomes paid, or cancelled.

    No money is sent back: what was turned down is refunded in the gateway's dashboard.
    """
    if is_accepted is is_cancelled:
        raise click.UsageError("say --accept or --cancel")
    order = or_fail(
        current_iterapay.service.resolve_hold,
        order_id,
        is_accepted=is_accepted,
        reason=HoldReason(reason) if reason else None,
        actor=actor,
        note=note,
    )
    click.echo(f"order {order_id} is {order.status}")
    _dispatch(order_id)


@cli.command()
@click.argument("order_id", metavar="ORDER")
@signed
def retry(*, order_id: str, actor: str, note: str) -> None:
    """Run the handlers of an order's events again that failed for good, or that wait for another try."""
    or_fail(current_iterapay.service.retry, order_id, actor=actor, note=note)
    if _dispatch(order_id):
        raise SystemExit(1)


@cli.command()
@click.option("--port", default=8099, show_default=True, type=click.IntRange(0, 65535))
@click.option("--database", type=click.Path(dir_okay=False, path_type=Path), default=Path("iterapay-sandbox.sqlite3"))
@click.option("--webhook-url", help="Where to deliver webhooks: a loopback URL.")
@click.option("--webhook-secret", envvar="ITERAPAY_WEBHOOK_SECRET", help="What to sign them with.")
def sandbox(*, port: int, database: Path, webhook_url: str | None, webhook_secret: str | None) -> None:
    """Serve an IteraPay of your own on loopback, for tests and demonstrations. No money moves."""
    from .sandbox.app import API_KEY, BEARER_TOKEN, MERCHANT_ID, serve  # only for this command

    click.echo(f"ITERAPAY_BASE_URL=http://127.0.0.1:{port}")
    click.echo(f"ITERAPAY_MERCHANT_ID={MERCHANT_ID}")
    click.echo(f"ITERAPAY_API_KEY={API_KEY}")
    click.echo(f"bearer token for `flask iterapay webhook register`: {BEARER_TOKEN}")
    click.echo(f"control panel: http://127.0.0.1:{port}/panel/")
    serve(port=port, path=database, webhook_url=webhook_url, webhook_secret=webhook_secret)


def _reconcile_once(limit: int) -> int:
    """Run one round, print what it did, and return how many orders failed. On a terminal a bar shows how far it is."""
    report = or_fail(current_iterapay.service.reconcile, limit=limit, watch=_show_progress)
    click.echo(f"{report.orders} orders, {report.links} links, {report.events} events, {report.failures} failures")
    return report.failures


def _show_progress(orders: Sequence[Entry]) -> Iterator[Entry]:
    if not sys.stdout.isatty():
        yield from orders
        return
    with click.progressbar(orders, label="Reconciling") as bar:
        yield from bar


def _dispatch(order_id: str) -> bool:
    """Run what is open, print how it went, and return whether something still is."""
    or_fail(current_iterapay.service.dispatch, order_id)
    order = or_fail(current_iterapay.service.get, order_id)
    return print_outcome([order], advice="see the log and `explain`")


def _summary(order: Order) -> dict[str, object]:
    return {
        "order_id": order.order_id,
        "status": order.status,
        "hold_reason": order.hold_reason,
        "settlement": order.settlement,
        "is_late": order.is_late,
        "amount": f"{order.amount}",
        "currency": order.currency,
        "description": order.description,
        "created_at": order.created_at.isoformat(),
        "changed_at": order.changed_at.isoformat(),
        "invoices": [record.invoice_id for record in order.invoices],
        "paid_invoice_id": order.paid_invoice_id,
        "anomalies": list(order.anomalies),
        "open_events": [event.key for event in order.events if event.state is EventState.OPEN],
        "failed_events": _failed_keys(order),
    }


def _failed_keys(order: Order) -> list[str]:
    return [event.key for event in order.events if event.state is EventState.FAILED]


def _webhook_url() -> str | None:
    public_url = current_iterapay.settings.public_url
    return None if public_url is None else public_url + current_iterapay.webhook_path()


def _read_bearer_token() -> str:
    """At a terminal without echo; from standard input otherwise, so that no token stands in a command line."""
    if sys.stdin.isatty():
        token: str = click.prompt("Bearer token", hide_input=True)
    else:
        token = sys.stdin.readline()
    if not token.strip():
        raise click.ClickException("no bearer token was given")
    return token.strip()
