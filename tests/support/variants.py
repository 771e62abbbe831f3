"""Parameters of thorough variants, which `make test-long` runs: `make test` runs the others of their test."""

from __future__ import annotations

from typing import Any

import pytest


def long(*values: Any) -> list[Any]:
    """Each value as a parameter that is marked `long`; a tuple as the values of several parameters."""
    return [pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.long) for value in values]
