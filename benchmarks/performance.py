"""The page on performance, of what `fcn-bench` found."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from benchmarks.compared import CLIENTS
from benchmarks.results import FOLDER, Section, load
from model.weights_file import DEFAULT_WEIGHTS, find_weights, load_weights

HERE = Path(__file__).parent
NONE = "Not measured yet."
BENCHES = (
    "corridor", "backends", "codecs", "served", "peers", "lent", "mixed", "crossing", "overload", "growth", "startup",
    "neighbour", "gpu",
)  # fmt: skip


def performance_page(folder: Path = FOLDER) -> str:
    """Markdown, with every figure from the results in this folder."""
    found = {name: load(name, folder) for name in BENCHES}
    corridor, served = found["corridor"], found["served"]
    parts = {name: told(section) for name, section in found.items() if name not in ("corridor", "backends")}
    return Template((HERE / "pages" / "performance.md").read_text()).substitute(
        parts,
        stages=told(corridor, first=5, ratios=False),
        runtimes=told(found["backends"]),
        bfloat16=f"{ratio(corridor, 'network, float32 / bfloat16'):.1f}",
        agreement=f"{100 * ratio(corridor, 'pixels on which both agree, enlarged to 1536'):.2f}%",
        clients=CLIENTS,
        per_core=f"{per_core(served):.0f}",
        side=load_weights(find_weights(DEFAULT_WEIGHTS)).manifest.preprocessing.side[1],
    )


def told(section: Section | None, first: int | None = None, *, ratios: bool = True) -> str:
    """The section's rows and ratios, and where they were measured."""
    if section is None:
        return NONE
    lines = ["| what | median | spread |", "|---|---|---|", *map(str, section.rows[:first])]
    lines += ["", *map(str, section.ratios)] if ratios else []
    return "\n".join([*lines, "", f"{section.machine}, commit {section.commit}."])


def ratio(section: Section | None, what: str) -> float:
    return next((each.value for each in section.ratios if each.what == what), float("nan")) if section else float("nan")


def per_core(section: Section | None) -> float:
    """Images a second that 16 clients get, over the cores that were used."""
    if section is None or not (cores := re.search(r"(\d+) threads", section.machine)):
        return float("nan")
    return next(row.median for row in section.rows if row.what == "served, 16 clients") / int(cores[1])
