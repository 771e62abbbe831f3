"""Shows text of others, such as file names, on a terminal and in logs: in one line, without control characters."""

from __future__ import annotations

VALUE_LENGTH = 100  # characters of a client's value that an error quotes


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type; the messages of some packages continue with advice."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def printable(text: str, length: int | None = None) -> str:
    """The text with unprintable characters escaped. If longer than `length`, it is cut to that, and `...` is added.

    Unprintable are line ends, control characters, marks that turn the direction of writing, undecodable bytes of file names,
    and white space other than the blank.
    """
    start = text if length is None else text[: length + 1]
    if not start.isprintable():
        start = "".join(c if c.isprintable() else repr(c)[1:-1] for c in start)
    return start if length is None or len(start) <= length else start[:length] + "..."


def excerpt(value: object) -> str:
    """The value's `repr`, cut to `VALUE_LENGTH` characters and `...`. Long texts and lists are cut first."""
    return printable(repr(_cut(value)), VALUE_LENGTH)


def _cut(value: object) -> object:
    if isinstance(value, list):
        return [_cut(each) for each in value[:VALUE_LENGTH]]
    return value[: VALUE_LENGTH + 1] if isinstance(value, str | bytes) else value
