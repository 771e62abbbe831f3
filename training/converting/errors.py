"""The error of a conversion, and what the errors of other libraries say."""

from __future__ import annotations

from model.printable import printable

LONGEST_REASON = 300  # letters


class ConversionError(ValueError):
    """A network that cannot be converted, or about which a question is open. The message says what to do."""


class RunError(ConversionError):
    """A library cannot load or run the network. Libraries do not say whether they had too little memory."""


def reason(error: Exception) -> str:
    """What another library's error says, in one line of at most `LONGEST_REASON` letters."""
    return one_line(str(error)) or type(error).__name__


def one_line(text: str) -> str:
    """The text in one line of at most `LONGEST_REASON` letters."""
    return printable(" ".join(text.split()), LONGEST_REASON)
