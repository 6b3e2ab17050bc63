"""Entries as text and back: the body of a store's record.

The text is JSON with a schema number. Fields are written and read by the dataclasses' own annotations, so a new field
with a default needs no code here, older bodies stay readable, and what a newer release has added is ignored. Decimals
and times travel as strings.
"""

import threading
from dataclasses import replace
from functools import cache
from typing import TypeVar

import msgspec

from .entries import Entry

__all__ = ["SCHEMA", "format_entry", "parse_entry"]

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
    fields = msgspec.to_builtins(entry, order="deterministic")
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


@cache
def _decoder(model: type[AnyEntry]) -> msgspec.json.Decoder[AnyEntry]:
    """The decoder of a kind of entry; made once, since it looks through every annotation."""
    # Two threads that make decoders of one dataclass at once crash the interpreter (msgspec 0.22); to use them is safe.
    with _making:
        return msgspec.json.Decoder(model)
