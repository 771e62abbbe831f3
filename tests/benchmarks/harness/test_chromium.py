"""Which Chromium is taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Playwright, sync_playwright

from benchmarks.harness.chromium import chromium_path


def program(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o755)
    return str(path)


@pytest.fixture
def playwright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Playwright]:
    """Playwright on a machine without any browser."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "fetched"))
    with sync_playwright() as running:
        yield running


def test_the_system_s_program_is_taken_before_playwright_s(playwright: Playwright, tmp_path: Path) -> None:
    assert chromium_path(playwright) is None
    path = program(Path(playwright.chromium.executable_path))
    assert chromium_path(playwright) == path
    chrome = program(tmp_path / "bin" / "google-chrome")
    assert chromium_path(playwright) == chrome
    chromium = program(tmp_path / "bin" / "chromium")
    assert chromium_path(playwright) == chromium
