"""``flask iterapay ...``: parses and prints. The work is done by the service, the store and the client."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

import click
from flask.cli import AppGroup

from .errors import IteraPayError
from .web.state import current_iterapay

__all__ = ["cli"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

cli = AppGroup("iterapay", help="Crypto payments through IteraPay.")


@cli.command("init-db")
def init_db() -> None:
    """Create the tables of the order store, if they are missing."""
    create_tables = getattr(current_iterapay.store, "create_tables", None)
    if create_tables is None:
        raise click.ClickException("this order store has no tables to create")
    _or_fail(create_tables)
    click.echo("The tables are there.")


@cli.command()
def methods() -> None:
    """List the payment methods that the gateway offers; those that customers can choose bear a mark."""
    offered = {method.method_id for method in _or_fail(current_iterapay.service.offered_methods)}
    for method in _or_fail(current_iterapay.client.list_payment_methods):
        mark = "*" if method.method_id in offered else " "
        click.echo(f"{mark} {method.method_id!s:>4}  {method.name:<14} {method.ticker} on {method.network}")


@cli.group()
def webhook() -> None:
    """Show or register the merchant's one webhook."""


@webhook.command("show")
def webhook_show() -> None:
    """Compare the URL that is registered at the gateway with this app's."""
    registered = _or_fail(current_iterapay.client.get_merchant).webhook_url
    ours = _webhook_url()
    click.echo(f"registered: {registered or 'none'}")
    click.echo(f"this app:   {ours or 'unknown, because ITERAPAY_PUBLIC_URL is not set'}")
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
    ours = _webhook_url()
    if ours is None:
        raise click.ClickException("set ITERAPAY_PUBLIC_URL first: the gateway needs an absolute URL")
    if urlsplit(ours).scheme != "https":
        raise click.ClickException(f"the gateway delivers to https only, and {ours} is not")
    client = current_iterapay.client
    registered = _or_fail(client.get_merchant).webhook_url
    if registered not in (None, "", ours) and not is_confirmed:
        raise click.ClickException(f"{registered} is registered; repeat with --yes to replace it")
    token = _or_fail(client.register_webhook, ours, current_iterapay.settings.webhook_secrets[0], _read_bearer_token())
    click.echo(f"Registered {ours}")
    if show_token:
        click.echo(f"token: {token}")


@cli.command()
@click.option("--every", "every_seconds", type=click.IntRange(1), help="Repeat after a pause of so many seconds.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="Orders per round.")
def reconcile(*, every_seconds: int | None, limit: int) -> None:
    """Finish what nobody finished: read the orders that are due, run the handlers of open events.

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
    """Run one round, print what it did, and return how many orders failed."""
    report = _or_fail(current_iterapay.service.reconcile, limit=limit)
    click.echo(f"{report.orders} orders, {report.events} events, {report.failures} failures")
    return report.failures


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


def _or_fail(function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """Call the function; turn an error of ours into one line and exit code 1."""
    try:
        return function(*args, **kwargs)
    except IteraPayError as error:
        raise click.ClickException(str(error)) from error
