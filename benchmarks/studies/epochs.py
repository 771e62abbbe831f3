"""Whether the epoch that is best on a small val is better than the last one on frames that chose nothing.

    python -m benchmarks.studies.epochs --voc data/voc2012-animals --camvid data/camvid --out runs/epochs \\
        --steps 240 --side 320 --crop 192 --batch 4
    python -m benchmarks.studies.documents

A row is a data set of `small_sets.toml` and a seed: thirty photographs of train, twelve of val, and the others of val as test.
Results go to `epochs.json`: rows that are there are not trained again.
"""

from __future__ import annotations

import sys
import tomllib
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.studies.small_sets import TABLE, Budget, Result, Row, make_parser, measure_row, read_results, train, write_set
from benchmarks.studies.trainings import markdown_table
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.weights_file import load_weights
from training.data.class_mapping import parse_class_mapping
from training.data.label_files import find_labels
from training.scoring.evaluate import frame_counts
from training.scoring.intervals import Counts, difference_intervals, mean_iou_interval
from training.survey.datasets import get_split

RESULTS = Path(__file__).with_name("epochs.json")
SETS = ("four-known", "part-known", "streets-four")
PHOTOGRAPHS, VAL = 30, 12
EVERY = 2  # epochs from score to score
LISTS = Path("ImageSets") / "Segmentation"


def main() -> int:
    parser = make_parser()
    parser.set_defaults(out=Path("runs/epochs"))
    args = parser.parse_args()
    table = tomllib.loads(TABLE.read_text())
    budget = Budget(args.steps, args.side, args.crop, args.batch)
    for seed in args.seeds or table["seeds"]:
        for name in args.names or SETS:
            measure_row(RESULTS, Row(name, PHOTOGRAPHS, "named-scores", seed, budget), lambda row: measure(row, table, args))
    return 0


def measure(row: Row, table: Mapping[str, Any], args: Namespace) -> Result:
    """Trains a row, and scores the last epoch and the best one on val and on test."""
    source_set = table["sets"][row.name]
    data = write_set(source_set["source"], PHOTOGRAPHS, VAL, args)
    write_test(data, source_set["source"], args)
    path = train(row, data, source_set, table["settings"]["named-scores"], table["start"], args, every=EVERY)
    files = {"last": path.with_name("net-last.safetensors"), "best": path.with_name("net-best.safetensors")}
    counts = {name: counts_on_test(file, data, source_set, args.threads) for name, file in files.items()}
    change = difference_intervals(counts["best"], counts["last"])[-1]
    manifests = {name: load_weights(file).manifest for name, file in files.items()}
    return {
        "epochs": manifests["last"].training["epochs"],
        "best_epoch": manifests["best"].training["epochs"],
        "val": {name: next(iter(manifest.scores.values()))["mean_iou"] for name, manifest in manifests.items()},
        "test": {name: round(mean_iou_interval(each).value, 6) for name, each in counts.items()},
        "change": round(change.value, 6),
        "change_95": change.rounded(),
        "frames": len(counts["last"]),
        "machine": manifests["last"].training["machine"],
        "commit": manifests["last"].training["commit"],
    }


def write_test(data: Path, source: str, args: Namespace) -> None:
    """Adds a test split to a set: the frames of its source's val that are not in the set's."""
    if source == "voc":
        val = set((data / LISTS / "val.txt").read_text().split())
        names = [name for name in (args.voc / LISTS / "val.txt").read_text().split() if name not in val]
        (data / LISTS / "test.txt").write_text("".join(f"{name}\n" for name in names))
        return
    for folder in ("", "annot"):
        target = data / f"test{folder}"
        target.mkdir(exist_ok=True)
        val = {path.name for path in (data / f"val{folder}").iterdir()}
        for path in sorted((args.camvid / f"val{folder}").iterdir()):
            if path.name not in val and not (target / path.name).is_symlink():
                (target / path.name).symlink_to(path.resolve())


def counts_on_test(file: Path, data: Path, source_set: Mapping[str, str], threads: int) -> Counts:
    """The confusion matrices of test, one for each frame."""
    labels = find_labels("camvid" if source_set["source"] == "camvid" else None, data)
    mapping = parse_class_mapping(source_set["class_map"], labels) if "class_map" in source_set else None
    segmenter = Segmenter.from_weights(file, "cpu", precision="float32", threads=threads)
    return frame_counts(segmenter, get_split(data, "test", labels, mapping), Options())


def epochs_table() -> str:
    """The rows that are done, by data set and epochs: means over the seeds, and the widest interval's ends."""
    sets = tomllib.loads(TABLE.read_text())["sets"]
    groups: dict[tuple[str, int], list[Result]] = {}
    for result in read_results(RESULTS):
        groups.setdefault((result["set"], result["epochs"]), []).append(result)
    header = ["data", "seeds", "best epoch", "val, last", "val, best", "test, last", "test, best", "difference", "95% interval"]
    cells = []
    for (name, epochs), group in sorted(groups.items()):
        scores = [f"{mean(row[split][kind] for row in group):.3f}" for split in ("val", "test") for kind in ("last", "best")]
        low, high = min(row["change_95"][0] for row in group), max(row["change_95"][1] for row in group)
        best = ", ".join(str(row["best_epoch"]) for row in group)
        change = f"{mean(row['change'] for row in group):+.3f}"
        best_of = f"{best} of {epochs}"
        cells.append((sets[name]["what"], len(group), best_of, *scores, change, f"{low:+.3f} to {high:+.3f}"))
    return markdown_table(header, cells)


if __name__ == "__main__":
    sys.exit(main())
