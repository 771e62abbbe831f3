"""The error of a conversion."""

from __future__ import annotations


class ConversionError(ValueError):
    """A network that cannot be converted, or about which a question is open. The message says what to do."""
