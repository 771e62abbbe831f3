"""What the networks of five folds are worth as one: their mean probabilities, and the mean of their weights.

    python -m benchmarks.studies.folds --voc data/voc2012-animals --out runs/folds --steps 240 --side 320 --crop 192 --batch 4
    python -m benchmarks.studies.documents

A row is a data set of `small_sets.toml` and a seed. It trains one network on all frames of train, and five that each lack a
fifth of them; val is apart. Results go to `folds.json`: rows that are there are not trained again.
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.studies.small_sets import TABLE, Budget, Result, Row, make_parser, measure_row, read_results, train, write_set
from benchmarks.studies.trainings import markdown_table
from imaging.rendering import Rendering
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.metrics import ConfusionMatrix
from model.networks.servable import half_tensors
from model.weights_file import load_weights, save_weights
from training.commands.train_seeds import average_network
from training.data.class_mapping import parse_class_mapping
from training.data.label_files import find_labels
from training.data.split import Split
from training.reporting.machine import machine
from training.survey.datasets import get_split

RESULTS = Path(__file__).with_name("folds.json")
FOLDS = 5
TRAIN = Path("ImageSets") / "Segmentation" / "train.txt"
PROBABILITIES = Options(rendering=Rendering("npz", probabilities=True))
WAYS = {
    "all": ("one network, of all frames", 1),
    "high": ("the same at `quality=high`", 8),
    "fold": ("a network of a fold, mean", 1),
    "probabilities": ("mean probabilities of the five", FOLDS),
    "weights": ("mean weights of the five", 1),
}
"""The ways to segment: what they are, and how many times as long they take."""


def main() -> int:
    parser = make_parser()
    parser.set_defaults(out=Path("runs/folds"))
    args = parser.parse_args()
    table = tomllib.loads(TABLE.read_text())
    budget = Budget(args.steps, args.side, args.crop, args.batch)
    for seed in args.seeds or table["seeds"]:
        for name in args.names or ("four-known", "part-known"):
            for photographs in args.photographs or (60,):
                measure_row(
                    RESULTS, Row(name, photographs, "named-scores", seed, budget), lambda row: measure(row, table, args)
                )
    return 0


def measure(row: Row, table: Mapping[str, Any], args: Any) -> Result:
    """The mean IoU on val of each way, for one row, of the source `voc`."""
    source_set = table["sets"][row.name]
    data = write_set(source_set["source"], row.photographs, table["val"], args)
    setting = table["settings"]["named-scores"]
    runs = args.out / "networks" / f"{row.name}-{row.photographs}-{row.seed}"
    runs.mkdir(parents=True, exist_ok=True)

    def file(name: str, folder: Path) -> Path:
        path: Path = runs / f"{name}.safetensors"
        if not path.is_file():
            shutil.copy(train(row, folder, source_set, setting, table["start"], args), path)
        return path

    whole = file("all", data)
    folds = [file(f"fold-{index}", without_fold(data, index)) for index in range(FOLDS)]
    average = runs / "average.safetensors"
    files = [load_weights(path) for path in folds]
    save_weights(average, half_tensors(average_network(files)), files[0].manifest)
    labels = find_labels(None, data)
    split = get_split(data, "val", labels, parse_class_mapping(source_set["class_map"], labels))
    one, of_folds, of_average = (
        [Segmenter.from_weights(path, "cpu", precision="float32", threads=args.threads) for path in paths]
        for paths in ([whole], folds, [average])
    )
    high = Options(quality="high", rendering=PROBABILITIES.rendering)
    fold_scores = [score(split, [segmenter], PROBABILITIES) for segmenter in of_folds]
    return {
        "all": score(split, one, PROBABILITIES),
        "high": score(split, one, high),
        "fold": round(mean(fold_scores), 6),
        "probabilities": score(split, of_folds, PROBABILITIES),
        "weights": score(split, of_average, PROBABILITIES),
        "frames": len(split.frames),
        "machine": machine(),
        "commit": load_weights(whole).manifest.training["commit"],
    }


def without_fold(data: Path, fold: int) -> Path:
    """A copy of a set in VOC's layout whose train lacks a fifth of its frames: every fifth, from `fold` on."""
    folder = data.with_name(f"{data.name}-without-{fold}")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(data, folder, symlinks=True)
    names = (data / TRAIN).read_text().split()
    (folder / TRAIN).write_text("".join(f"{name}\n" for index, name in enumerate(names) if index % FOLDS != fold))
    return folder


def score(split: Split, segmenters: Sequence[Segmenter], options: Options) -> float:
    """The mean IoU of the class of the highest mean probability, over the split."""
    matrix = ConfusionMatrix(len(split.labels))
    for truth, probabilities in predictions(split, segmenters, options):
        matrix.update(truth, probabilities.argmax(0).astype(np.uint8))
    return round(float(np.nanmean(matrix.iou)), 6)


def predictions(
    split: Split, segmenters: Sequence[Segmenter], options: Options
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]]:
    """Each frame's mask (H, W), and the mean of the segmenters' probabilities, float32 (classes, H, W)."""
    for index in range(len(split.frames)):
        each = [segmenter(split.file(index), options).probabilities for segmenter in segmenters]
        yield split.mask(index), np.mean(np.stack([one for one in each if one is not None]), 0, np.float32)


def folds_table() -> str:
    """The rows that are done: for each way its mean over the seeds."""
    sets = tomllib.loads(TABLE.read_text())["sets"]
    groups: dict[tuple[str, int], list[Result]] = {}
    for result in read_results(RESULTS):
        groups.setdefault((result["set"], result["photographs"]), []).append(result)
    header = ["data", "photographs", "seeds", *(f"{what} ({times}x)" for what, times in WAYS.values())]
    cells = [
        (sets[name]["what"], number, len(group), *(f"{mean(result[way] for result in group):.3f}" for way in WAYS))
        for (name, number), group in sorted(groups.items())
    ]
    return markdown_table(header, cells)


if __name__ == "__main__":
    sys.exit(main())
