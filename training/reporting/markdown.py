"""Rows of Markdown tables, whatever stands in their cells."""

from __future__ import annotations

import re


def table_row(*cells: str) -> str:
    """A row of a Markdown table; a bar in a cell is escaped, and a line break is a space."""
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    # backslashes before a bar are doubled: else they would escape the one that escapes it
    return re.sub(r"(\\*)\|", lambda bar: bar[1] * 2 + "\\|", " ".join(text.splitlines()))


def literal(name: str) -> str:
    """A name that Markdown shows letter by letter: `_background_` would be in italics, `$x$` a formula."""
    return re.sub(r"[*`$<\[]|(?<!\w)_|_(?!\w)", r"\\\g<0>", name)
