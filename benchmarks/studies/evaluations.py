"""What the path of an image is worth: scores the rows of `evaluations.toml`, and writes `docs/evaluations.json`.

    python -m benchmarks.studies.evaluations

The rows refer to their data, their start weights and the published file's start as `data/`, `start/` and `runs/start` in the
checkout. The start is written first, if it is not there. `benchmarks.studies.documents` makes the page.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.studies.trainings import ROOT, by_name, chosen_names, run_command
from training.reporting.machine import commit

TABLE = Path(__file__).with_name("evaluations.toml")
RESULTS = ROOT / "docs" / "evaluations.json"
START = ROOT / "runs" / "start" / "start.safetensors"


@dataclass(frozen=True)
class Evaluation:
    """One comparison: its name, what it compares, and the arguments of `fcn-evaluate`.

    verdict: whether the service does the same.
    """

    name: str
    what: str
    arguments: tuple[str, ...]
    verdict: str = ""

    @property
    def command(self) -> list[str]:
        return ["fcn-evaluate", *self.arguments]


@dataclass(frozen=True)
class Evaluations:
    """The rows of the TOML file, in order. start: the command that writes the published file's start."""

    start: tuple[str, ...]
    rows: tuple[Evaluation, ...]


def read_evaluations(path: Path) -> Evaluations:
    document = tomllib.loads(path.read_text())
    rows = [
        Evaluation(
            name=row["name"],
            what=row["what"],
            arguments=(*shlex.split(document["common"][row["data"]]), *shlex.split(row["arguments"])),
            verdict=row.get("verdict", ""),
        )
        for row in document["rows"]
    ]
    return Evaluations(tuple(shlex.split(document["start"])), tuple(rows))


def main() -> int:
    parser = argparse.ArgumentParser("benchmarks.studies.evaluations", description="Scores the rows of evaluations.toml.")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: one for each core)")
    parser.add_argument("rows", nargs="*", help="names of rows (default: all)")
    args = parser.parse_args()
    table = read_evaluations(TABLE)
    names = chosen_names([row.name for row in table.rows], args.rows)
    if not START.exists():
        run_command([*table.start, "--threads", str(args.threads)])
    results = dict(by_name(json.loads(RESULTS.read_text()))) if RESULTS.exists() else {}
    for row in table.rows:
        if row.name in names:
            results[row.name] = measure(row, args.threads)
            entries = [results[other.name] for other in table.rows if other.name in results]
            RESULTS.write_text(json.dumps(entries, indent=1) + "\n")
    return 0


def measure(row: Evaluation, threads: int) -> dict[str, Any]:
    """The row's scores and their difference, as `fcn-evaluate` writes them, with its conditions, commit and command."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.json"
        run_command([*row.command, "--json", str(path), "--threads", str(threads)])
        scores: Mapping[str, Any] = json.loads(path.read_text())
    against = scores["against"]
    return {
        "name": row.name,
        "mean_iou": scores["mean_iou"],
        "against": against["mean_iou"],
        "difference_95": against["difference_95"]["mean_iou"],
        "iou": dict(zip(scores["classes"], scores["iou"], strict=True)),
        "conditions": scores["conditions"],
        "against_conditions": against["conditions"],
        "commit": commit(),
        "command": shlex.join(row.command),
    }


if __name__ == "__main__":
    sys.exit(main())
