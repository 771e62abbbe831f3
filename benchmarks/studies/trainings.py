"""Tables of trainings: runs `fcn-train` for each row without weights yet, and collects the scores."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import mean, variance
from typing import Any

from model.manifest import Manifest
from model.weights_file import load_weights
from training.reporting.markdown import table_row

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Row:
    """One command of `fcn-train`: its name, what it shows, and its flags besides the common ones.

    of: the row that it differs from by one thing (default: the first). verdict, note: texts for the tables. has_score: whether
    the training was long enough for its score to say something about the network.
    """

    name: str
    what: str
    arguments: tuple[str, ...]
    of: str = ""
    verdict: str = ""
    note: str = ""
    has_score: bool = True


@dataclass(frozen=True)
class Table:
    """The rows of a TOML file, in order, and the flags that all rows share. seeds: how many trainings a row is, by seed."""

    common: tuple[str, ...]
    rows: tuple[Row, ...]
    seeds: int = 1

    def command(self, row: Row, out: Path) -> list[str]:
        """The command for this row; `{out}` in its flags stands for `out`, the folder of all rows."""
        seeds = ("--seeds", str(self.seeds)) if self.seeds > 1 else ()
        arguments = [argument.replace("{out}", str(out)) for argument in (*self.common, *seeds, *row.arguments)]
        return ["fcn-train", *arguments, "--name", row.name, "--out", str(out / row.name)]

    def final_file(self, row: Row, out: Path) -> Path:
        """The weights file that the row's command writes last: with several seeds, the average of their weights."""
        return out / row.name / f"{row.name}{'-average' if self.seeds > 1 else ''}.safetensors"

    def seed_files(self, row: Row, out: Path) -> list[Path]:
        """The weights file of each seed."""
        if self.seeds == 1:
            return [self.final_file(row, out)]
        return [out / row.name / f"seed-{seed}" / f"{row.name}.safetensors" for seed in range(self.seeds)]


def read_table(path: Path) -> Table:
    document = tomllib.loads(path.read_text())
    rows = [Row(**(row | {"arguments": tuple(shlex.split(row["arguments"]))})) for row in document["rows"]]
    return Table(tuple(shlex.split(document["common"])), tuple(rows), document.get("seeds", 1))


def run_rows(table: Table, out: Path, only: Sequence[str], threads: int) -> None:
    """Trains each row without its final file, or only the rows in `only`; a killed run resumes from its checkpoint.

    Raises `SystemExit` for an unknown name.
    """
    names = chosen_names([row.name for row in table.rows], only)
    for row in table.rows:
        if row.name in names and not table.final_file(row, out).exists():
            run_command([*table.command(row, out), "--threads", str(threads), "--evaluate-every", "1000"])


def chosen_names(names: Sequence[str], only: Collection[str]) -> Collection[str]:
    """The names in `only`, or all if it is empty; raises `SystemExit` for one that is not among them."""
    if unknown := sorted(set(only) - set(names)):
        raise SystemExit(f"no rows {unknown}; there are {names}")
    return only or names


def run_command(command: Sequence[str]) -> None:
    """Runs `fcn-train` or `fcn-evaluate` with its arguments in the checkout, by this Python."""
    module = command[0].replace("fcn-", "training.commands.")
    subprocess.run([sys.executable, "-m", module, *command[1:]], cwd=ROOT, check=True)


def results(table: Table, out: Path) -> list[dict[str, Any]]:
    """Scores and facts from the weights files of each finished row, in the table's order.

    With several seeds, scores and minutes are means over them, `seeds` holds the mean IoU of each, and `average` that of the
    average of their weights.
    """
    return [_result(table, row, out) for row in table.rows if table.final_file(row, out).exists()]


def _result(table: Table, row: Row, out: Path) -> dict[str, Any]:
    manifests = [load_weights(path).manifest for path in table.seed_files(row, out)]
    scores = [_score(manifest) for manifest in manifests]
    first = manifests[0]
    seeds: dict[str, Any] = {}
    if table.seeds > 1:
        average = _score(load_weights(table.final_file(row, out)).manifest)
        seeds = {"seeds": [score["mean_iou"] for score in scores], "average": average["mean_iou"]}
    return {
        "name": row.name,
        "mean_iou": round(mean(score["mean_iou"] for score in scores), 6),
        **seeds,
        "pixel_accuracy": round(mean(score["pixel_accuracy"] for score in scores), 6),
        "iou": {
            label: None if None in values else round(mean(values), 6)
            for label, *values in zip(scores[0]["classes"], *(score["iou"] for score in scores), strict=True)
        },
        "minutes": round(mean(manifest.training["hours"] for manifest in manifests) * 60, 1),
        "steps": first.training["steps"],
        "start": first.training["start"],
        "machine": first.training["machine"],
        "commit": first.training["commit"],
        "command": shlex.join(table.command(row, out)),
        "architecture": first.architecture.to_dict(),
        "conditions": scores[0]["conditions"],
    }


def _score(manifest: Manifest) -> dict[str, Any]:
    (score,) = manifest.scores.values()
    return dict(score)


def difference(result: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """The difference of two means over seeds, with its standard error."""
    error = sqrt(sum(variance(row["seeds"]) / len(row["seeds"]) for row in (result, base)))
    return f"{result['mean_iou'] - base['mean_iou']:+.3f} ± {error:.3f}"


def commits(results: Iterable[Mapping[str, Any]]) -> str:
    """The commits at which results were measured, as text."""
    return ", ".join(sorted({str(result["commit"]) for result in results}))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [table_row(*header), "|" + "---|" * len(header)]
    return "\n".join([*lines, *(table_row(*map(str, row)) for row in rows)])


def by_name(rows: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {str(row["name"]): row for row in rows}
