"""How one value of the configuration is read, whatever JSON made of an environment variable.

Each function takes a value, or makes a function that takes one, and returns what it means; ``Problem`` says what is
wrong with it, and never what it is.
"""

import json
import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import TypeVar

__all__ = [
    "Problem",
    "count",
    "decode",
    "flag",
    "items",
    "link",
    "one_of",
    "origins",
    "seconds",
    "text",
    "text_like",
    "url",
    "words",
]

Word = TypeVar("Word", bound=str)

_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_HOST = r"(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?P<port>:[0-9]{1,5})?"
_URL = re.compile(rf"(?P<scheme>https?)://{_HOST}(?P<path>/[!-~]*)?")


class Problem(Exception):
    """What is wrong with a value, as the rest of a sentence that begins with the key."""


def flag(value: object) -> bool:
    """Read a switch: true, false, 1 or 0, in whatever case."""
    found = _FLAGS.get(str(value).lower()) if isinstance(value, bool | int | str) else None
    if found is None:
        raise Problem("must be true, false, 1 or 0")
    return found


def seconds(at_least: int, at_most: int) -> Callable[[object], int]:
    """Read a whole number of seconds between the two, both included."""
    return count(at_least, at_most, of="seconds")


def count(at_least: int, at_most: int, *, of: str) -> Callable[[object], int]:
    """Read a whole number of something between the two, both included."""

    def parse(value: object) -> int:
        if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not at_least <= value <= at_most:
            raise Problem(f"must be a whole number of {of} from {at_least} to {at_most}")
        return value

    return parse


def one_of(choices: tuple[Word, ...]) -> Callable[[object], Word]:
    """Read one of these words."""

    def parse(value: object) -> Word:
        for choice in choices:
            if value == choice:
                return choice
        raise Problem(f"must be one of {', '.join(choices)}")

    return parse


def text(value: object) -> str:
    """Read text that is not blank and has no blanks around it."""
    if not isinstance(value, str):
        raise Problem(
            f"is not text but {type(value).__name__}; quote it, and in an environment variable, which is read as JSON, "
            "put double quotes inside the shell's"
        )
    if not value or value != value.strip():
        raise Problem("is blank or has blanks around it; give it a value or leave it unset")
    return value


def text_like(pattern: str, problem: str) -> Callable[[object], str]:
    """Read text that matches a pattern as a whole; ``problem`` tells what it must be."""

    def parse(value: object) -> str:
        found = text(value)
        if not re.fullmatch(pattern, found):
            raise Problem(problem)
        return found

    return parse


def origins(*, allows_http: bool) -> Callable[[object], tuple[str, ...]]:
    """Read one or more origins; http is taken on loopback, or where it is allowed."""
    parse_url = url(allows_http=allows_http)

    def parse(value: object) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_origin(parse_url(item)) for item in words(value)))

    return parse


def _origin(address: str) -> str:
    """Write an origin as browsers do: in lower case, without the scheme's own port."""
    match = _URL.fullmatch(address)
    if match is None or match["path"]:
        raise Problem("must hold origins such as https://shop.example, without a path")
    default_port = {"http": ":80", "https": ":443"}[match["scheme"]]
    return f"{match['scheme']}://{match['host'].lower()}{match['port'] or ''}".removesuffix(default_port)


def url(*, allows_http: bool = False) -> Callable[[object], str]:
    """Read an absolute URL without its trailing slash; http is taken on loopback, or where it is allowed."""

    def parse(value: object) -> str:
        found = text(value)
        match = _URL.fullmatch(found)
        if match is None or "?" in found or "#" in found:
            raise Problem("must be an absolute URL without user, password, query and fragment")
        if match["scheme"] == "http" and not allows_http and not _is_loopback(match["host"]):
            raise Problem("must begin with https://")
        return found.rstrip("/")

    return parse


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def words(value: object) -> list[object]:
    """Read a list, a JSON list, or words with commas between them."""
    if isinstance(value, str) and not value.startswith("["):
        return [word.strip() for word in value.split(",")]
    return items(value)


def items(value: object) -> list[object]:
    """Read a list or a JSON list; anything else is a list of itself."""
    value = decode(value, "[", "list")
    return list(value) if isinstance(value, list | tuple) else [value]


def decode(value: object, opening: str, name: str) -> object:
    """Read JSON if the value is text that begins like it; anything else is left as it is."""
    if not isinstance(value, str) or not value.startswith(opening):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise Problem(f"begins like a JSON {name} but is none") from None


link = text_like(rf"{_URL.pattern}|mailto:[!-~]+@[!-~]+", "must be an absolute http, https or mailto URL")
"""Read where people find help: a web address or a mail address."""
