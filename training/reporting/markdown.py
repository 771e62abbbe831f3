"""Rows of Markdown tables, with escaped cells."""

from __future__ import annotations

import re


def table_row(*cells: str) -> str:
    """A row of a Markdown table; escapes bars in cells, and replaces line breaks with spaces."""
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    # backslashes before a bar are doubled: otherwise they would escape the backslash that escapes the bar
    return re.sub(r"(\\*)\|", lambda bar: bar[1] * 2 + "\\|", " ".join(text.splitlines()))


def literal(name: str) -> str:
    """Escapes a name so that Markdown shows it literally: not `_background_` in italics, nor `$x$` as a formula."""
    return re.sub(r"[*`$<\[]|(?<!\w)_|_(?!\w)", r"\\\g<0>", name)
