"""Makes `docs/models.md` and `docs/accuracy.md` from the measurements of the other programs in this folder.

python -m benchmarks.studies.documents
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import stdev
from string import Template
from typing import Any

from benchmarks.studies import few
from benchmarks.studies.composite_edges import table as composite_table
from benchmarks.studies.epochs import epochs_table
from benchmarks.studies.evaluations import read_evaluations
from benchmarks.studies.folds import folds_table
from benchmarks.studies.small_sets import small_sets_table
from benchmarks.studies.trainings import ROOT, by_name, commits, difference, markdown_table, read_table
from model.manifest import INT8_SCORES, scored_in
from model.weights_file import find_weights, load_weights
from training.publishing.card_sections import checked_frames

DOCS = ROOT / "docs"
HERE = Path(__file__).parent
RECIPES = sorted((ROOT / "training" / "recipes").glob("*.toml"))
CHECKED = "architecture checked"
PRECISIONS = ("float32", *INT8_SCORES.values())
HIGH = ", quality high"  # in the names of scores
STAIRCASE = {"FCN-32s": "stride32-32s", "FCN-16s": "stride32-16s", "FCN-8s": "stride32"}  # rows of accuracy.toml
PUBLISHED = {
    "voc-fcn8s-mobilenet-v2": "VOC 2012 animals, val",
    "camvid-fcn8s-mobilenet-edgetpu": "CamVid, val",
}


def main() -> int:
    (DOCS / "models.md").write_text(models_page())
    (DOCS / "accuracy.md").write_text(accuracy_page())
    return 0


def _page(name: str, **values: object) -> str:
    """The text of a page in `pages/`, with the values filled in."""
    return Template((HERE / "pages" / f"{name}.md").read_text()).substitute(values)


def load(name: str) -> Any:
    """A JSON document in `docs/`."""
    return json.loads((DOCS / f"{name}.json").read_text())


def models_page() -> str:
    results, shifts = load("models"), load("shift-and-stitch")
    rows = by_name(results["rows"])
    table_rows = [row for row in read_table(HERE / "models.toml").rows if row.name in rows]
    table = [
        (
            row.what,
            f"{rows[row.name]['parameters'] / 1e6:.2f} M",
            f"{rows[row.name]['gflops']:.1f}",
            _milliseconds(rows[row.name]),
            f"{rows[row.name]['mean_iou']:.3f}, {row.note}, {rows[row.name]['minutes']:.1f} min" if row.has_score else CHECKED,
        )
        for row in table_rows
    ]
    height, width = results["tile"]
    commands = "\n".join(f"# {row.what}\n{rows[row.name]['command']}" for row in table_rows if row.has_score)
    return _page(
        "models",
        table=markdown_table(["network", "parameters", "GFLOPs", "ms", "CamVid val mean IoU"], table),
        recipes=markdown_table(["recipe", "source"], [(f"`{path.stem}`", source(path)) for path in RECIPES]),
        height=height,
        width=width,
        dtype=results["dtype"],
        machine=results["machine"],
        torch=results["torch"],
        stitched=_stitched(shifts),
        commands=commands,
    )


def _milliseconds(row: Mapping[str, Any]) -> str:
    """Median, lowest and highest; `not measured` for a row that was added after the last measurement."""
    return f"{row['ms']:.0f} ({row['ms_low']:.0f} to {row['ms_high']:.0f})" if "ms" in row else "not measured"


def source(recipe: Path) -> str:
    """The source that a recipe's first line names; raises `ValueError` if there is none."""
    first = recipe.read_text().splitlines()[0]
    if not first.startswith("# Source: "):
        raise ValueError(f"{recipe} must begin with the line '# Source: ', got {first!r}")
    return first.removeprefix("# Source: ").removesuffix(".")


def _stitched(document: Mapping[str, Any]) -> str:
    rows = [
        (f"{row['shifts']} x {row['shifts']}", f"{row['ms']:.0f}", f"{row['ratio']:.1f}", f"{100 * row['changed']:.2f}%")
        for row in document["rows"]
    ]
    height, width = document["size"]
    header = ["shifts", "ms", "times the cost", "pixels on the other side of 0.5"]
    where = f"{height}x{width}, {document['dtype']}, {document['machine']}, commit {document['commit']}."
    return f"{markdown_table(header, rows)}\n\n{where}"


def accuracy_page() -> str:
    choices, failures, trials, augmentations = by_name(load("accuracy")), load("failures"), load("trials"), load("few")
    base = choices["base"]
    return _page(
        "accuracy",
        published=_published(),
        calibrated=_calibrated(),
        steps=base["steps"],
        seeds=len(base["seeds"]),
        average=f"{base['average']:.3f}",
        table=_choices(choices),
        machine=base["machine"],
        commits=commits(choices.values()),
        command=base["command"],
        staircase=_staircase(choices),
        **_evaluations(load("evaluations")),
        drives=_trial(trials["drives"]),
        drive_commands="\n".join(trials["drives"]["commands"]),
        weak=_trial(trials["weak"]),
        weak_commands="\n".join(trials["weak"]["commands"]),
        found_from=f"{100 * failures['found_from']:g}",
        rare=_rare(failures["rare"]),
        ranking=_ranking(load("ranking")),
        edges=_edges(load("cutout")),
        composites=composite_table(load("cutout")["composites"]),
        every=failures["every"]["train"],
        small_sets=small_sets_table(),
        epochs=epochs_table(),
        folds=folds_table(),
        augmentations=few.scores(read_table(few.TABLE), augmentations),
        augmentation_facts=f"{augmentations[0]['machine']}; commits {commits(augmentations)}",
    )


def _choices(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of what each choice is worth, without the rows of the staircase."""
    rows = []
    for row in read_table(HERE / "accuracy.toml").rows:
        if row.of:
            continue
        result = results[row.name]
        rows.append(
            (
                f"*{row.name}*: {row.what}",
                f"{result['mean_iou']:.3f}",
                f"{stdev(result['seeds']):.3f}",
                difference(result, results["base"]) if row.name != "base" else "",
                f"{result['iou']['Pole']:.2f}",
                row.verdict,
            )
        )
    header = ["change", "mean IoU", "standard deviation", "difference", "IoU of poles", "kept"]
    return markdown_table(header, rows)


def _staircase(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of the networks that differ in their skips alone, each beside the one above."""
    rows: list[tuple[str, ...]] = []
    above = None
    for network, name in STAIRCASE.items():
        result = results[name]
        scores = f"{result['mean_iou']:.3f}", f"{stdev(result['seeds']):.3f}"
        classes = f"{result['iou']['SignSymbol']:.3f}", f"{result['iou']['Bicyclist']:.3f}"
        rows.append((network, *scores, difference(result, above) if above else "", *classes))
        above = result
    return markdown_table(["network", "mean IoU", "standard deviation", "against the one above", "signs", "bicyclists"], rows)


def _evaluations(results: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The table of the path's comparisons, their conditions and their commands."""
    by_row = by_name(results)
    rows, commands = [], []
    for row in read_evaluations(HERE / "evaluations.toml").rows:
        result = by_row[row.name]
        change = f"{result['mean_iou'] - result['against']:+.3f}"
        low, high = result["difference_95"]
        rows.append((row.what, f"{result['mean_iou']:.3f}", change, f"{low:+.3f} to {high:+.3f}", row.verdict))
        commands.append(f"# {row.what}\n{result['command']}")
    return {
        "evaluations": markdown_table(["what", "mean IoU", "change", "95% interval", "kept"], rows),
        "evaluated": f"{results[0]['conditions'].rpartition('; ')[2]}; commits {commits(results)}",
        "evaluation_commands": "\n".join(commands),
    }


def _trial(trial: Mapping[str, Any]) -> str:
    rows = ([f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in trial["rows"])
    return markdown_table(trial["header"], rows)


def _published() -> str:
    rows = []
    for name, score in PUBLISHED.items():
        scores = load_weights(find_weights(name)).manifest.scores
        candidates = [scored_in(f"{score}{high}", precision) for high in ("", HIGH) for precision in PRECISIONS]
        for frames in [candidate for candidate in candidates if candidate in scores]:
            values = scores[frames]
            low, high = values.get("mean_iou_95", (None, None))
            interval = "" if low is None else f"{low:.3f} to {high:.3f}"
            boundary_iou = f"{values['boundary_iou']:.3f}" if "boundary_iou" in values else ""
            numbers = f"{values['mean_iou']:.3f}", interval, boundary_iou, f"{values['pixel_accuracy']:.3f}"
            rows.append((name, frames, len(values["classes"]), *numbers))
    return markdown_table(["weights", "frames", "classes", "mean IoU", "95% interval", "near borders", "pixel accuracy"], rows)


def _calibrated() -> str:
    rows = []
    for name in PUBLISHED:
        training = load_weights(find_weights(name)).manifest.training
        fits = {name: training.get("calibration"), f"{name}, int8": training.get("calibration_int8")}
        for label, fit in [(label, fit) for label, fit in fits.items() if fit]:
            errors = f"{fit['ece_before']:.4f}", f"{fit['ece_after']:.4f}"
            rows.append((label, f"{fit['temperature']:.3f}", *checked_frames(fit), *errors))
    header = ["weights", "temperature", "frames", "checked on", "ECE without", "ECE with one"]
    return markdown_table(header, rows)


def _rare(splits: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    rows = []
    for split, classes in splits.items():
        for name, values in classes.items():
            numbers = [_number(values[key]) for key in ("iou", "start_iou", "agreement")]
            rows.append((split, name, values["frames"], *numbers))
    return markdown_table(["split", "class", "frames", "IoU", "the start's IoU", "agreement with the start"], rows)


def _ranking(document: Mapping[str, Any]) -> str:
    """A table for each weights file: how its scores order photographs by their errors."""
    header = [
        "score",
        "correlation with wrong pixels",
        "with 1 - IoU",
        *(f"wrong pixels in the first {n}%" for n in (10, 25, 50)),
    ]
    tables = []
    for weights in document["weights"].values():
        rows = [
            (name, f"{values['error']:.2f}", f"{values['iou_error']:.2f}", *_percentages(values["first"]))
            for name, values in weights["scores"].items()
        ]
        rows.append(("perfect order", "", "", *_percentages(weights["perfect"])))
        caption = f"{weights['title']}, {weights['frames']} photographs, {weights['precision']}:"
        tables.append(f"{caption}\n\n{markdown_table(header, rows)}")
    return "\n\n".join([*tables, f"{document['machine']}, commit {document['commit']}."])


def _edges(document: Mapping[str, Any]) -> str:
    """A table of the errors of each kind of edge, for each working size and band."""
    sides = {"auto": "the default", "160": "160 pixels"}
    names = ("absolute", "squared", "wrong")
    rows = [
        (sides[side], f"{reach} px", kind, *(f"{errors[name][index]:.3f}" for name in names))
        for side, kinds in document["sides"].items()
        for index, reach in enumerate(document["bands"])
        for kind, errors in kinds.items()
    ]
    header = ["side", "band", "edge", "mean absolute error", "mean squared error", "wrong pixels"]
    caption = f"VOC 2012 animals, val, {document['frames']} photographs, {document['precision']}:"
    return f"{caption}\n\n{markdown_table(header, rows)}\n\n{document['machine']}, commit {document['commit']}."


def _percentages(shares: Sequence[float]) -> list[str]:
    return [f"{100 * share:.0f}%" for share in shares]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
