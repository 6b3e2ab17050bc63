"""What a shop's words must be: kept for good, shown to customers and in terminals, and taken by every database."""

__all__ = ["MAX_DESCRIPTION", "MAX_NOTE", "is_entry_id", "is_line", "is_text"]

MAX_DESCRIPTION = 200
MAX_NOTE = 1000


def is_entry_id(value: object) -> bool:
    """Whether it can be the id of an order or a link: 1 to 64 printable characters."""
    return isinstance(value, str) and 1 <= len(value) <= 64 and value.isprintable()


def is_line(value: object, max_length: int) -> bool:
    """Whether it is printable text of a sensible length."""
    return isinstance(value, str) and len(value) <= max_length and value.isprintable()


def is_text(value: object) -> bool:
    """Whether it is text that every database takes: a lone surrogate is a ``str`` that none does."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)
