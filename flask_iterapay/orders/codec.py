"""Entries as text and back: the body of a store's record.

The text is JSON with a schema number. Fields are written and read by the dataclasses' own annotations, so a new field
with a default needs no code here and older bodies stay readable. Decimals and times travel as strings.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from .entries import Entry

__all__ = ["SCHEMA", "format_entry", "parse_entry"]

AnyEntry = TypeVar("AnyEntry", bound=Entry)

SCHEMA = 1
"""Goes up when a body can no longer be read by the code before it."""


def format_entry(entry: Entry) -> str:
    """Write an entry as a record's body. ``version`` is left out: it is the record's."""
    body = _plain(entry)
    del body["version"]
    return json.dumps({"schema": SCHEMA, entry.KIND: body}, ensure_ascii=False, separators=(",", ":"))


def parse_entry(model: type[AnyEntry], body: str, *, version: int) -> AnyEntry:
    """Read an entry from a record's body.

    Raises:
        ValueError: the body was written by a newer release.
    """
    document = json.loads(body)
    if document["schema"] != SCHEMA:
        raise ValueError(f"the record has schema {document['schema']}, this release reads {SCHEMA}")
    entry: AnyEntry = _reader(model)({**document[model.KIND], "version": version})
    return entry


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


@cache
def _reader(annotation: Any) -> Callable[[Any], Any]:
    """The function that reads a value of this annotation; made once per annotation."""
    if is_dataclass(annotation):
        return _dataclass_reader(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is UnionType and NoneType in arguments:
        return _optional_reader(*(argument for argument in arguments if argument is not NoneType))
    if origin is tuple:
        read = _reader(arguments[0])
        return lambda value: tuple(read(item) for item in value)
    if annotation is datetime:
        return datetime.fromisoformat
    if origin is frozenset or annotation is Decimal or (isinstance(annotation, type) and issubclass(annotation, Enum)):
        return origin or annotation  # type: ignore[no-any-return]
    return lambda value: value


def _optional_reader(*annotations: Any) -> Callable[[Any], Any]:
    read = _reader(annotations[0]) if len(annotations) == 1 else lambda value: value
    return lambda value: None if value is None else read(value)


def _dataclass_reader(model: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(model)
    readers = {field.name: _reader(hints[field.name]) for field in fields(model)}
    required = {field.name for field in fields(model) if field.default is MISSING and field.default_factory is MISSING}

    def read(value: dict[str, Any]) -> Any:
        if missing := required - value.keys():
            raise ValueError(f"{model.__name__} lacks {', '.join(sorted(missing))}")
        return model(**{name: readers[name](item) for name, item in value.items() if name in readers})

    return read
