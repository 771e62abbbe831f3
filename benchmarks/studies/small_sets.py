"""What fine-tuning is worth with 30, 60 and 200 photographs, beside the untrained start: trains the rows of `small_sets.toml`.

    python -m benchmarks.studies.small_sets --voc data/voc2012-animals --camvid data/camvid --out runs/small-sets

A row is a data set, a number of photographs, a setting and a seed. Its result goes to `small_sets.json`, which is in the
repository: rows that are there are not trained again, on any machine. `--steps`, `--side`, `--crop` and `--batch` make a
smaller budget, and rows of another budget are other rows. Names after the options choose sets and settings. At its end the
program writes the table of `docs/accuracy.md`, also if no row was missing.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar

from model.weights_file import load_weights
from model.whole_file import whole_file
from training.data.class_mapping import parse_class_mapping
from training.data.demo import write_demo_data
from training.data.label_files import find_labels
from training.learning.score_rows import NEW
from training.publishing.card_sections import table_row
from training.survey.datasets import get_split

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "accuracy.md"
TABLE = Path(__file__).with_name("small_sets.toml")
RESULTS = Path(__file__).with_name("small_sets.json")
RECIPE = "training/recipes/finetune.toml"
HEADER = ("data", "photographs", "seeds", "steps", "mean IoU", "start", "change against the start", "95% interval")
SHOWN = "rule"  # the setting whose rows the page shows
Result = dict[str, Any]
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Budget:
    """Changes that make a training smaller; 0 leaves the plan's value. side, crop: in pixels."""

    steps: int = 0
    side: int = 0
    crop: int = 0
    batch: int = 0

    def changes(self, frames: int) -> list[str]:
        """The changes of the recipe for so many frames of train."""
        epochs = max(1, round(self.steps / max(1, frames // self.batch))) if self.steps else 0
        values = {
            "side": self.side and f"[{self.side}, {self.side}]",
            "tile": self.side and f"[{self.side}, {self.side}]",
            "crop": self.crop and f"[{self.crop}, {self.crop}]",
            "batch": self.batch,
            "epochs": epochs,
        }
        return [part for name, value in values.items() if value for part in ("--set", f"{name}={value}")]


@dataclass(frozen=True)
class Row:
    """One training."""

    name: str
    photographs: int
    setting: str
    seed: int
    budget: Budget

    @property
    def key(self) -> dict[str, Any]:
        return {"set": self.name, "photographs": self.photographs, "setting": self.setting, "seed": self.seed} | {
            "budget": vars(self.budget)
        }


def main() -> int:
    args = make_parser().parse_args()
    budget = Budget(args.steps, args.side, args.crop, args.batch)
    if budget.steps and not budget.batch:
        raise SystemExit("--steps needs --batch, since the epochs follow from both")
    table = tomllib.loads(TABLE.read_text())
    unknown = sorted(set(args.names) - set(table["sets"]) - set(table["settings"]))
    if unknown:
        raise SystemExit(f"no sets or settings {unknown}; there are {[*table['sets'], *table['settings']]}")
    sets, settings = ([name for name in table[kind] if name in args.names] or table[kind] for kind in ("sets", "settings"))
    photographs, seeds = args.photographs or table["photographs"], args.seeds or table["seeds"]
    for seed, name, number, setting in product(seeds, sets, photographs, settings):
        measure_row(Row(name, number, setting, seed, budget), table, args)
    PAGE.write_text(with_table(PAGE.read_text()))
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The arguments."""
    parser = argparse.ArgumentParser("benchmarks.studies.small_sets", description="Trains on small data sets.")
    parser.add_argument("--voc", type=Path, default=Path("data/voc2012-animals"))
    parser.add_argument("--camvid", type=Path, default=Path("data/camvid"), help="in the layout of the SegNet tutorial")
    parser.add_argument("--out", type=Path, default=Path("runs/small-sets"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--photographs", type=int, action="append", help="can be repeated (default: the table's)")
    parser.add_argument("--seeds", type=int, action="append", help="can be repeated (default: the table's)")
    for name in ("steps", "side", "crop", "batch"):
        parser.add_argument(f"--{name}", type=int, default=0, help="in place of the plan's")
    parser.add_argument("names", nargs="*", help="names of sets and settings (default: all)")
    return parser


def measure_row(row: Row, table: Mapping[str, Any], args: argparse.Namespace) -> None:
    """Adds a row's result to the file of results, and prints it; a row that is there is not measured again."""
    if not any(row.key.items() <= result.items() for result in read_results()):
        result = row.key | train_row(row, table, args)
        with whole_file(RESULTS) as partial:
            partial.write_text(json.dumps([*read_results(), result], indent=1) + "\n")
        print(result)


def read_results() -> list[Result]:
    """The rows that are done."""
    return list(json.loads(RESULTS.read_text())) if RESULTS.is_file() else []


def with_table(page: str) -> str:
    """The page with the rows of the plan itself that are done in its table."""
    head = f"{table_row(*HEADER)}\n|{'---|' * len(HEADER)}\n"
    return re.sub(f"({re.escape(head)})(?:\\|.*\n)*", lambda match: match[1] + "".join(table_rows()), page)


def table_rows() -> list[str]:
    """The rows of the table: means over the seeds; the change is the trained network's against the start, on val."""
    table = tomllib.loads(TABLE.read_text())
    groups: dict[tuple[str, int, str], list[Result]] = {}
    for result in read_results():
        if result["setting"] == SHOWN:
            groups.setdefault((result["set"], result["photographs"], json.dumps(result["budget"])), []).append(result)
    return [
        table_row(
            table["sets"][name]["what"],
            str(number),
            str(len(group)),
            str(round(mean(result["steps"] for result in group))),
            f"{mean(result['mean_iou'] for result in group):.3f}",
            *_against_start(group),
        )
        + "\n"
        for (name, number, _), group in sorted(groups.items())
    ]


def _against_start(group: Sequence[Result]) -> tuple[str, str, str]:
    """The start's mean IoU over the classes that it knows, the mean change over the seeds, and the widest interval's ends."""
    first = group[0]
    if first["start"] is None:
        return "-", "-", "-"
    change = f"{mean(result['change'] for result in group):+.3f}"
    intervals = [result["change_95"] for result in group if None not in result["change_95"]]
    if not intervals:
        return f"{first['start']:.3f}", change, "none"
    low, high = min(low for low, _ in intervals), max(high for _, high in intervals)
    return f"{first['start']:.3f}", change, f"{low:+.3f} to {high:+.3f}"


def train_row(row: Row, table: Mapping[str, Any], args: argparse.Namespace) -> Result:
    """Trains a row; gives the trained network's score on val, and how far it is above the start's.

    A start that `fcn-train` keeps in place of the trained network does not count.
    """
    source_set, setting = table["sets"][row.name], table["settings"][row.setting]
    data = write_set(source_set["source"], row.photographs, table["val"], args)
    manifest = load_weights(train(row, data, source_set, setting, table["start"], args)).manifest
    training, (score,) = manifest.training, manifest.scores.values()
    change = training.get("against_start", {"mean_iou": None, "mean_iou_95": [None, None]})
    return {
        "mean_iou": score["mean_iou"],
        "start": training.get("start_score", {}).get("mean_iou"),
        "known": training.get("start_score", {}).get("classes", []),
        "change": change["mean_iou"],
        "change_95": change["mean_iou_95"],
        "frames": training["splits"]["val"]["frames"],
        "steps": training["steps"],
        "minutes": round(training["hours"] * 60, 1),
        "machine": training["machine"],
        "commit": training["commit"],
    }


def train(
    row: Row, data: Path, source_set: Mapping[str, str], setting: Mapping[str, Any], start: str, args: argparse.Namespace
) -> Path:
    """Trains the row's network on a data set; gives the trained network's file."""
    mapping = ["--class-map", source_set["class_map"]] if "class_map" in source_set else []
    labels = "camvid" if source_set["source"] == "camvid" else None
    rows = ["--set", f"start_rows={[NEW] * count_classes(data, labels, mapping)}"] if setting.get("new_scores") else []
    out: Path = args.out / "runs" / f"{row.name}-{row.photographs}-{row.setting}-{row.seed}"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "training.commands.train", "--data", str(data), *(["--labels", labels] if labels else [])]
    command += [*mapping, "--start", start, "--recipe", RECIPE, "--seed", str(row.seed), "--device", "cpu"]
    command += [*row.budget.changes(row.photographs), *shlex.split(setting["changes"]), *rows]
    command += ["--threads", str(args.threads), "--evaluate-every", "100000", "--name", "net", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True)
    path = out / "net-trained.safetensors"
    return path if path.is_file() else out / "net.safetensors"


def write_set(source: str, photographs: int, val: int, args: argparse.Namespace) -> Path:
    """A data set of so many frames of train, evenly over its list, and at most `val` of val; made of links."""
    folder = Path(args.out) / "sets" / f"{source}-{photographs}"
    if source == "shapes":
        if not folder.is_dir():
            write_demo_data(folder, train=photographs, val=val)
    elif source == "camvid":
        for split, number in (("train", photographs), ("val", val)):
            photos = sorted((args.camvid / split).iterdir())
            for photo in _evenly(photos, number):
                mask = f"{photo.stem}.png"
                _link(photo, folder / split / photo.name)
                _link(args.camvid / f"{split}annot" / mask, folder / f"{split}annot" / mask)
    else:
        for name in ("JPEGImages", "SegmentationClass"):
            _link(args.voc / name, folder / name)
        lists = Path("ImageSets") / "Segmentation"
        (folder / lists).mkdir(parents=True, exist_ok=True)
        for split, number in (("train", photographs), ("val", val)):
            names = (args.voc / lists / f"{split}.txt").read_text().split()
            (folder / lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in _evenly(names, number)))
    return folder


def _evenly(entries: Sequence[Entry], number: int) -> Sequence[Entry]:
    number = min(number, len(entries))
    return [entries[index * len(entries) // number] for index in range(number)]


def _link(target: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(target.resolve())


def count_classes(data: Path, labels: str | None, mapping: Sequence[str]) -> int:
    label_set = find_labels(labels, data)
    return len(parse_class_mapping(mapping[1], label_set).labels if mapping else get_split(data, "train", label_set).labels)


if __name__ == "__main__":
    sys.exit(main())
