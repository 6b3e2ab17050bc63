"""What the commands have in common: an error in one line, who decides and why, and how things are printed."""

import getpass
import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

import click

from .errors import IteraPayError
from .orders.codec import format_entry
from .orders.entries import Entry, EventState

__all__ = ["format_moment", "or_fail", "print_json", "print_outcome", "signed", "stored_fields"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def or_fail(function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """Call the function; turn an error of ours into one line and exit code 1."""
    try:
        return function(*args, **kwargs)
    except IteraPayError as error:
        raise click.ClickException(str(error)) from error


def signed(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say who decided and why; both are kept in the history of what is decided about."""
    command = click.option("--actor", default=_get_login, help="Who decides; by default the login name.")(command)
    return click.option("--note", required=True, callback=_check_note, help="Why.")(command)


def _get_login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return "somebody at the command line"


def _check_note(context: click.Context, option: click.Parameter, note: str) -> str:
    if not note.strip():
        raise click.BadParameter("say why; it is kept in the history")
    return note


def print_outcome(entries: Iterable[Entry], *, advice: str) -> bool:
    """Print how the handlers of these entries' events went, and return whether something is left to do."""
    left = [event.key for entry in entries for event in entry.events if event.state is not EventState.DONE]
    click.echo(f"not done: {', '.join(left)}; {advice}" if left else "every event is done")
    return bool(left)


def print_json(value: object) -> None:
    """Print a value for programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def stored_fields(entry: Entry) -> dict[str, Any]:
    """Everything that is stored of an entry, as JSON has it."""
    fields: dict[str, Any] = json.loads(format_entry(entry))[entry.KIND]
    return fields


def format_moment(at: datetime) -> str:
    """Write a time for people; all of ours are UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
