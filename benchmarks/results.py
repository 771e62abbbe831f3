"""What the benches found: kept one JSON file a bench, each with its machine and commit, and shown in RESULTS.md."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np

from model.cores import available_cores
from model.device import choose_device, choose_dtype, dtype_name
from training.machine import commit, machine

FOLDER = Path(__file__).parent / "results"
PACKAGES = ("torch", "torchvision", "fastapi", "uvicorn", "pillow")


@dataclass(frozen=True)
class Row:
    """One line: what was measured, and its median, least and greatest value."""

    what: str
    median: float
    low: float
    high: float
    unit: str

    @classmethod
    def of(cls, what: str, values: Sequence[float], unit: str) -> Row:
        return cls(what, statistics.median(values), min(values), max(values), unit)

    def __str__(self) -> str:
        spread = "" if self.low == self.high else f"{_short(self.low)} to {_short(self.high)}"
        return f"| {self.what} | {_short(self.median)} {self.unit} | {spread} |"


@dataclass(frozen=True)
class Ratio:
    """A comparison within one run, and what is aimed at."""

    what: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @classmethod
    def of(cls, what: str, values: Sequence[float], others: Sequence[float]) -> Ratio:
        """The median of the ones over that of the others."""
        return cls(what, statistics.median(values) / statistics.median(others))

    @property
    def holds(self) -> bool:
        return (self.at_least is None or self.value >= self.at_least) and (self.at_most is None or self.value <= self.at_most)

    def __str__(self) -> str:
        aims = [f"at least {self.at_least:g}"] if self.at_least is not None else []
        aims += [f"at most {self.at_most:g}"] if self.at_most is not None else []
        aim = f" (aim: {' and '.join(aims)}{'' if self.holds else '; missed'})" if aims else ""
        return f"- {self.what}: **{_short(self.value)}**{aim}"


@dataclass(frozen=True)
class Section:
    """What one bench found. `text` says how it was measured; charts are files beside RESULTS.md."""

    title: str
    text: str
    rows: list[Row] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    charts: list[str] = field(default_factory=list)
    machine: str = ""
    commit: str = ""
    versions: str = ""

    def markdown(self) -> str:
        where = f"{self.machine}; commit {self.commit}; {self.versions}."
        lines = [f"## {self.title}", "", self.text, "", where, ""]
        lines += ["| what | median | spread |", "|---|---|---|", *map(str, self.rows), "", *map(str, self.ratios), ""]
        lines += [f"![{self.title}]({chart})\n" for chart in self.charts]
        return "\n".join(lines)


def here(section: Section) -> Section:
    """The section, with this machine, the precision it is served in, commit and these versions."""
    versions = ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)])
    precision = dtype_name(choose_dtype("auto", choose_device("auto")))
    where = f"{machine(available_cores())}, {precision} by default"
    facts = asdict(section) | {"machine": where, "commit": commit(), "versions": versions}
    return Section(**facts | {"rows": section.rows, "ratios": section.ratios})


def save(name: str, section: Section, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(asdict(section), indent=1) + "\n")


def load(name: str, folder: Path) -> Section | None:
    """What was found last, or None."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    facts = json.loads(path.read_text())
    rows, ratios = ([kind(**entry) for entry in facts[key]] for key, kind in (("rows", Row), ("ratios", Ratio)))
    return Section(**facts | {"rows": rows, "ratios": ratios})


def page(names: Sequence[str], folder: Path) -> str:
    """RESULTS.md of what is there."""
    sections = [section for name in names if (section := load(name, folder))]
    head = "# Results\n\nWritten by `fcn-bench`. Medians; ratios compare what was measured side by side in one run.\n"
    return "\n".join([head, *(section.markdown() for section in sections)])


def _short(value: float) -> str:
    """Three significant digits, or the whole number."""
    if not np.isfinite(value):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
