"""Finds a Chromium for the bench of the page, the documentation's picture and the tests in a browser."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def chromium_path(playwright: Playwright) -> str | None:
    """The path of the system's Chromium or Chrome, else of the Chromium that Playwright has fetched; None without either."""
    if program := next(filter(None, map(shutil.which, PROGRAMS)), None):
        return program
    path = playwright.chromium.executable_path
    return path if Path(path).exists() else None
