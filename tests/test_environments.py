"""Which environment a page's commands belong to, and that each page names one that has what its commands need."""

from __future__ import annotations

import re

import pytest

from tests.support.checkout import ROOT
from tests.support.environments.__main__ import LEAN, OTHERS, extras_with_torch
from tests.support.environments.page_commands import Environment, all_commands, read_commands

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


PAGE = (ROOT / "tests" / "support" / "environments" / "page.md").read_text()


def deeper(text: str) -> str:
    """The page as a section of another one: each heading is one level deeper."""
    parts = re.split(r"(^\s*```.*?^\s*```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if "```" in part else re.sub("^#", "##", part, flags=re.MULTILINE) for part in parts)


@pytest.mark.parametrize("text", [PAGE, deeper(PAGE), f"# Others\n\n`pip install '.[ray]'`\n\n{PAGE}"])
def test_an_installation_holds_for_the_rest_of_its_section_and_those_below(text: str) -> None:
    commands = [(each.text.strip().splitlines()[-1], sorted(each.environment.extras)) for each in read_commands("page", text)]
    assert commands == [
        ("fcn-segment a.jpg -o a.png", []),
        ("fcn-segment scene.tif -o b.tif", ["geo"]),
        ("fcn-train --data DATA", ["geo", "train"]),
        ("fcn-segment scene.tif -o c.tif", ["geo"]),
        ("fcn-segment d.jpg -o d.png", []),
    ]


def test_pages_that_are_merged_keep_their_environments() -> None:
    paths = sorted((ROOT / "docs").glob("*.md"))
    alone = [(each.text, each.environment) for path in paths for each in read_commands("", path.read_text())]
    merged = "# All\n\n" + "\n".join(deeper(path.read_text()) for path in paths)
    assert alone
    assert [(each.text, each.environment) for each in read_commands("", merged)] == alone


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


def test_the_client_is_an_environment_of_its_own() -> None:
    text = "`pip install './client[cvat]'`\n\n```sh\ncvat-cli\n```\n"
    assert [each.environment for each in read_commands("page", text)] == [Environment(client=frozenset({"cvat"}))]
