"""Tables of trainings: runs `fcn-train` for each row without weights yet, and collects the scores."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.weights_file import load_weights
from training.reporting.markdown import table_row

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Row:
    """One training: its name, what it shows, and its flags besides the common ones.

    verdict, note: texts for the tables. has_score: whether the training was long enough for its score to say something about
    the network.
    """

    name: str
    what: str
    arguments: tuple[str, ...]
    verdict: str = ""
    note: str = ""
    has_score: bool = True


@dataclass(frozen=True)
class Table:
    """The rows of a TOML file, in order, and the flags that all rows share."""

    common: tuple[str, ...]
    rows: tuple[Row, ...]

    def command(self, row: Row, out: Path) -> list[str]:
        """The command for this row; `{out}` in its flags stands for `out`, the folder of all rows."""
        own = [argument.replace("{out}", str(out)) for argument in row.arguments]
        return ["fcn-train", *self.common, *own, "--name", row.name, "--out", str(out / row.name)]


def read_table(path: Path) -> Table:
    document = tomllib.loads(path.read_text())
    rows = [Row(**(row | {"arguments": tuple(shlex.split(row["arguments"]))})) for row in document["rows"]]
    return Table(tuple(shlex.split(document["common"])), tuple(rows))


def run_rows(table: Table, out: Path, only: Sequence[str], threads: int) -> None:
    """Trains each row without a weights file, or only the rows in `only`; a killed run resumes from its checkpoint.

    Raises `SystemExit` for an unknown name.
    """
    if unknown := sorted(set(only) - {row.name for row in table.rows}):
        raise SystemExit(f"no rows {unknown}; there are {[row.name for row in table.rows]}")
    for row in table.rows:
        if (not only or row.name in only) and not (out / row.name / f"{row.name}.safetensors").exists():
            program = [sys.executable, "-m", "training.commands.train", *table.command(row, out)[1:]]
            options = ["--threads", str(threads), "--evaluate-every", "1000"]
            subprocess.run([*program, *options], cwd=ROOT, check=True)


def results(table: Table, out: Path) -> list[dict[str, Any]]:
    """Scores and facts from the weights file of each finished row, in the table's order."""
    entries = []
    for row in table.rows:
        path = out / row.name / f"{row.name}.safetensors"
        if path.exists():
            manifest = load_weights(path).manifest
            (score,) = manifest.scores.values()
            entries.append(
                {
                    "name": row.name,
                    "mean_iou": score["mean_iou"],
                    "pixel_accuracy": score["pixel_accuracy"],
                    "iou": dict(zip(score["classes"], score["iou"], strict=True)),
                    "minutes": round(manifest.training["hours"] * 60, 1),
                    "steps": manifest.training["steps"],
                    "start": manifest.training["start"],
                    "machine": manifest.training["machine"],
                    "commit": manifest.training["commit"],
                    "command": shlex.join(table.command(row, out)),
                    "architecture": manifest.architecture.to_dict(),
                    "conditions": score["conditions"],
                }
            )
    return entries


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [table_row(*header), "|" + "---|" * len(header)]
    return "\n".join([*lines, *(table_row(*map(str, row)) for row in rows)])


def by_name(rows: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {str(row["name"]): row for row in rows}
