"""Results of the benches: one JSON file for each, with machine and commit, shown in RESULTS.md."""

from __future__ import annotations

import json
import math
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from model.inference.cores import available_cores
from model.inference.loading import load_runtime
from model.weights_file import DEFAULT_WEIGHTS, find_files

FOLDER = Path(__file__).parents[1] / "results"
PACKAGES = ("openvino", "torch", "numpy", "fastapi", "uvicorn", "pillow")
HEAD = """\
# Results

`fcn-bench` writes this page. Figures are medians. Ratios compare figures of one run. `results/` has the versions of Python and
packages, and the figures of benches that were removed. [What was measured once](results/history.md) has the studies."""


@dataclass(frozen=True)
class Row:
    """One line of a table: the measured quantity, and its median, lowest and highest value."""

    what: str
    median: float
    low: float
    high: float
    unit: str

    @classmethod
    def of(cls, what: str, values: Sequence[float], unit: str) -> Row:
        return cls(what, statistics.median(values), min(values), max(values), unit)

    def __str__(self) -> str:
        span = "" if self.low == self.high else f"{_short(self.low)} to {_short(self.high)}"
        return f"| {self.what} | {_short(self.median)} {self.unit} | {span} |"


@dataclass(frozen=True)
class Ratio:
    """A comparison within one run, or a figure, and its aim if it has one."""

    what: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

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
    """The result of one bench. `text` says how it was measured."""

    title: str
    text: str
    rows: list[Row] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    machine: str = ""
    commit: str = ""
    versions: str = ""

    def markdown(self) -> str:
        where = f"{self.machine}; commit {self.commit}."
        table = ["| what | median | spread |", "|---|---|---|", *map(str, self.rows)]
        return "\n".join([f"## {self.title}", "", self.text, "", where, "", *table, "", *map(str, self.ratios)])


def stamp(section: Section) -> Section:
    """The section with this machine, the default runtime and precision on it, the commit, and the versions of packages."""
    # imported here because it imports torch, which processes that measure other runtimes should not load
    from training.reporting.machine import commit, machine

    runtime = load_runtime(find_files(DEFAULT_WEIGHTS)).describe()
    machine_text = f"{machine(available_cores())}; served with {runtime['runtime']} in {runtime['precision']}"
    versions = ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)])
    return replace(section, machine=machine_text, commit=commit(), versions=versions)


def save(name: str, section: Section, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(asdict(section), indent=1) + "\n")


def load(name: str, folder: Path) -> Section | None:
    """The last saved result of this bench, or None if there is none."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    facts = json.loads(path.read_text())
    rows, ratios = ([kind(**entry) for entry in facts[key]] for key, kind in (("rows", Row), ("ratios", Ratio)))
    return Section(**facts | {"rows": rows, "ratios": ratios})


def page(names: Sequence[str], folder: Path) -> str:
    """The text of RESULTS.md: the last results of these benches."""
    sections = [section.markdown() for name in names if (section := load(name, folder))]
    return "\n\n".join([HEAD, *sections]) + "\n"


def _short(value: float) -> str:
    """Three significant digits; from 100 on, the whole number."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
