"""Shows text of others, such as file names, on a terminal and in logs: in one line, without control characters."""

from __future__ import annotations


def printable(text: str, length: int | None = None) -> str:
    """The text with unprintable characters escaped. If longer than `length`, it is cut to that, and `...` is added.

    Unprintable are line ends, control characters, marks that turn the direction of writing, undecodable bytes of file names,
    and white space other than the blank.
    """
    start = text if length is None else text[: length + 1]
    if not start.isprintable():
        start = "".join(c if c.isprintable() else repr(c)[1:-1] for c in start)
    return start if length is None or len(start) <= length else start[:length] + "..."
