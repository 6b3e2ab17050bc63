"""Entries as text and back: the body of a store's record.

The text is JSON with a schema number. Fields are written and read by the models' own annotations, so a new field
with a default needs no code here, older bodies stay readable, and what a newer release has added is ignored. Decimals
and times travel as strings.
"""

import threading
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import TypeVar

import msgspec

from ..values import replace
from .entries import Entry

__all__ = ["SCHEMA", "format_entry", "parse_entry", "prepare", "simplify"]

AnyEntry = TypeVar("AnyEntry", bound=Entry)

SCHEMA = 1
"""Goes up when a body can no longer be read by the code before it."""

_making = threading.Lock()
_encoder = msgspec.json.Encoder()
_document_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def format_entry(entry: Entry) -> str:
    """Write an entry as a record's body. ``version`` is left out: it is the record's.

    Equal entries give the same text: sets and mappings are sorted.
    """
    fields = msgspec.to_builtins(entry, order="deterministic", enc_hook=simplify)
    del fields["version"]
    return _encoder.encode({"schema": SCHEMA, entry.KIND: fields}).decode()


def parse_entry(model: type[AnyEntry], body: str, *, version: int) -> AnyEntry:
    """Read an entry from a record's body.

    Raises:
        ValueError: the body was written by a newer release, or is no entry of this kind.
    """
    try:
        document = _document_decoder.decode(body)
        schema = msgspec.json.decode(document.get("schema", b"null"))
        if schema != SCHEMA:
            raise ValueError(f"the record has schema {schema}, this release reads {SCHEMA}")
        entry: AnyEntry = _decoder(model).decode(document.get(model.KIND, b"null"))
        return replace(entry, version=version)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


def simplify(value: object) -> object:
    """Write what is of a class of somebody else's, such as ``Markup``, as the text or moment that it is.

    Raises:
        TypeError: it is neither text nor a moment, a decimal or a mapping.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, datetime):
        # As msgspec itself writes UTC.
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a record cannot hold {type(value).__name__}")


def prepare(model: type[Entry]) -> None:
    """Make the decoder of a kind of entry while the app is set up, before there are threads, and children of them."""
    _decoder(model)


@cache
def _decoder(model: type[AnyEntry]) -> msgspec.json.Decoder[AnyEntry]:
    """The decoder of a kind of entry; made once, since it looks through every annotation."""
    # Two threads that make decoders of one class at once crash the interpreter (msgspec 0.22); to use them is safe.
    with _making:
        return msgspec.json.Decoder(model)
