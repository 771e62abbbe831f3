"""Which environment a page's commands belong to, and that each page names one that has what its commands need."""

from __future__ import annotations

import re

from tests.support.checkout import ROOT
from tests.support.environments.__main__ import LEAN, OTHERS, extras_with_torch
from tests.support.environments.page_commands import all_commands

NEEDS = {
    r"fcn-(train|evaluate) -": {"train"},
    r"fcn-convert ": {"convert"},
    r"fcn-export .*--for": {"convert", "train"},
    r"fcn-export .*--(int8|checkpoint)": {"train"},
    r"--raster|\.gpkg|\.geojson|scene\.tif": {"geo"},
    r"(s3|gs|az)://": {"cloud", "ray"},
    r"\.parquet": {"table", "ray"},
    r"fcn-bulk ": {"ray"},
    r"fcn-label-studio": {"label-studio"},
}
"""What commands need one of, by their text."""


def test_every_environment_of_the_pages_is_made_by_the_program() -> None:
    made = {each for chain in (LEAN, *OTHERS) for each in chain}
    assert {each.environment for each in all_commands(ROOT)} <= made
    assert not any(each.extras & extras_with_torch() for each in LEAN)


def test_every_extra_of_users_stands_on_a_page() -> None:
    named = {extra for each in all_commands(ROOT) for extra in each.environment.extras}
    assert {"train", "convert", "geo", "cloud", "table", "timm", "ray"} <= named


def test_commands_stand_where_the_page_names_what_they_need() -> None:
    wrong = [
        (each.page, each.text, sorted(each.environment.extras))
        for each in all_commands(ROOT)
        for pattern, extras in NEEDS.items()
        if re.search(pattern, each.text) and not extras & (each.environment.extras | (each.environment.client or frozenset()))
    ]
    assert not wrong
