"""Which classes the page leaves clear over the photo."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from imaging.classes import is_background
from tests.support.variants import long

IS_CLEAR = 'async (entry) => (await import("./static/layers.js")).isClear(entry)'


@pytest.mark.parametrize("name", ["_background_", *long("background", "Background", " BACKGROUND ", "backgrounds"), "leaf"])
def test_a_background_is_clear_by_whichever_name(page: Page, name: str) -> None:
    assert page.evaluate(IS_CLEAR, {"id": 0, "name": name, "color": "#123456"}) == is_background(name)
    assert not page.evaluate(IS_CLEAR, {"id": 1, "name": name, "color": "#123456"})
    assert page.evaluate(IS_CLEAR, {"id": 1, "name": name, "color": "#000000"})
