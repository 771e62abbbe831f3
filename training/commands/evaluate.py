"""`fcn-evaluate`: scores a weights file on a labelled split, along the served path."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.runtime import Runtime
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.segmenter import Segmenter
from model.inference.views import Quality
from model.labels import LabelSet
from model.metrics import ConfusionMatrix
from model.preprocessing import Preprocessing
from model.weights_file import WeightsFiles, find_files, find_weights, load_weights
from model.whole_file import begins_with, check_output
from training.commands.command import print_lines, run_command
from training.commands.evaluate_arguments import WORST, check_arguments, make_options, parser
from training.commands.mask_arguments import print_mask_report
from training.data.class_mapping import ClassMapping, identity_mapping, parse_class_mapping
from training.data.label_files import find_labels
from training.data.split import Split
from training.publishing.onnx_files import files_by_precision, read_imported
from training.publishing.recording import record
from training.reporting.machine import set_threads
from training.scoring.calibration import errors_of_answers, gather
from training.scoring.evaluate import difference_table, require_same_classes
from training.scoring.frame_report import worst, write_json, write_picture
from training.scoring.intervals import difference_intervals
from training.scoring.split_score import (
    MeasuredNetwork,
    RecordedScore,
    SplitScore,
    fit_and_print_temperature,
    score_split,
)
from training.survey.datasets import get_split
from training.survey.folds import EACH, groups, only

HOLE = "{group}"  # in the name of weights, replaced with the name of the scored group


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_command("fcn-evaluate", lambda: _evaluate(args))


def _evaluate(args: argparse.Namespace) -> None:
    set_threads(args.threads)
    check_arguments(args)
    for path in filter(None, (args.json, args.record_in, args.pictures and args.pictures / "picture.png")):
        check_output(path, begins_with(rb'\{\n "weights": ') if path == args.json else None)
    labels = find_labels(args.labels, args.data)
    mapping = parse_class_mapping(args.class_map, labels) if args.class_map else None
    split = get_split(args.data, args.split, labels, mapping, args.masks, args.masks_orientation)
    options = make_options(args)
    if args.group == EACH:
        print_mask_report(split)
        _score_each_group(args, split, labels, mapping, options)
        return
    if args.group:
        split = only(split, args.group, args.group_pattern)
    print_mask_report(split)
    weights = args.weights.replace(HOLE, args.group or HOLE)
    if args.record:
        path = Path(weights) if read_imported(Path(weights)) else find_weights(weights)
        _record(args, path, split, labels, mapping, options)
        return
    if args.calibrate:
        _calibrate(args, Segmenter(_runtime(args, weights)), split, options)
        return
    other_segmenter = _other_segmenter(args) if args.against else None
    ours = score_split(Segmenter(_runtime(args, weights)), split, labels, mapping, options, _changes(args))
    print(ours.text(split))
    facts = ours.facts(split)
    if other_segmenter:
        other_options = replace(options, quality=args.against_quality or args.quality)
        facts["against"] = _compare(ours, score_split(other_segmenter, split, labels, mapping, other_options), split)
    if args.json:
        write_json(args.json, facts, ours.counts, split)
    if args.pictures:
        _pictures(args, ours, split)
    if args.record_in:
        score = RecordedScore(args.record_as, ours.values(split), MeasuredNetwork.of(ours.segmenter.runtime))
        print(record(args.record_in, scores=[score], advise=partial(_advised, args), notes=args.note))


def _other_segmenter(args: argparse.Namespace) -> Segmenter:
    """The segmenter of `--against`, on the same runtime; flags that change the network, such as `--shifts`, do not apply."""
    files = find_files(args.against.replace(HOLE, args.group or HOLE))
    return Segmenter(load_runtime(files, args.runtime, args.device, args.precision, args.threads))


def _compare(ours: SplitScore, theirs: SplitScore, split: Split) -> dict[str, Any]:
    """Prints the differences from the other weights' scores; gives the other weights' facts with the differences."""
    differences = difference_intervals(ours.counts, theirs.counts)
    print(
        difference_table(
            ConfusionMatrix.of_frames(ours.counts), ConfusionMatrix.of_frames(theirs.counts), differences, split.labels.names
        )
    )
    other = theirs.segmenter.runtime.identity
    print(f"against {other.name} {other.sha256[:16]}, {theirs.where}")
    ends = [difference.rounded() for difference in differences]
    return theirs.facts(split) | {"difference_95": {"iou": ends[:-1], "mean_iou": ends[-1]}}


def _score_each_group(
    args: argparse.Namespace, split: Split, labels: LabelSet, mapping: ClassMapping | None, options: Options
) -> None:
    """Scores every group and prints the mean; if `--weights` contains `{group}`, each group has its own weights."""
    means = []
    for group in groups(split, args.group_pattern):
        segmenter = Segmenter(_runtime(args, args.weights.replace(HOLE, group)))
        result = score_split(segmenter, only(split, group, args.group_pattern), labels, mapping, options, _changes(args))
        means.append(result.interval.value)
        matrix = ConfusionMatrix.of_frames(result.counts)
        text = f", {matrix.mean_iou_with_predicted:.4f} with predicted classes that no label shows"
        note = text if matrix.predicted_only else ""
        print_lines([f"{group}: mean IoU {matrix.mean_iou:.4f} ({result.interval}){note}, {result.where}"])
    print(f"mean of {len(means)} groups: {sum(means) / len(means):.4f}")


def _pictures(args: argparse.Namespace, ours: SplitScore, split: Split) -> None:
    """Saves pictures of the worst frames."""
    for rank, index in enumerate(worst(ours.counts, split, args.worst or WORST), 1):
        class_map = ours.segmenter(split.file(index), ours.options).class_map
        write_picture(args.pictures, rank, split, index, ours.mapping(class_map) if ours.mapping else class_map)


def _changes(args: argparse.Namespace) -> str:
    """The changes that flags make to the network, as text for the score's conditions."""
    return f"; shift-and-stitch {args.shifts}x{args.shifts}" if args.shifts != 1 else ""


def _calibrate(args: argparse.Namespace, segmenter: Segmenter, split: Split, options: Options) -> None:
    """Fits a temperature, prints the calibration errors, and records the temperature in `--record-in`."""
    if args.record_in and load_weights(args.record_in).sha256 != segmenter.runtime.identity.sha256:
        raise ValueError(
            "a temperature belongs to the file that it was fitted for: give --weights and --record-in the same one"
        )
    require_same_classes(segmenter.manifest.labels, split.labels)
    samples = gather(segmenter, split, options)
    fit = fit_and_print_temperature(segmenter, split, samples)
    answer_error, exact_error = errors_of_answers(samples, segmenter.temperature)
    errors = f"{answer_error:.4f} as it is answered, {exact_error:.4f} by every pixel's softmax"
    print(f"at the file's temperature, {segmenter.temperature}: {errors}")
    if args.record_in:
        print(record(args.record_in, calibrations=[fit], notes=args.note))


def _record(
    args: argparse.Namespace, path: Path, split: Split, labels: LabelSet, mapping: ClassMapping | None, options: Options
) -> None:
    """Scores a master in float32 and in the precision of each export, fits temperatures, and records both together."""
    check_output(path)
    plain_split = replace(split, mapping=identity_mapping(labels))
    scores, calibrations = [], []
    for precision, files in _precisions(path):
        segmenter = Segmenter(load_runtime(files, args.runtime, args.device, precision, args.threads))
        network = MeasuredNetwork.of(segmenter.runtime)
        for quality in get_args(Quality) if args.high else ("standard",):
            score = score_split(segmenter, split, labels, mapping, replace(options, quality=quality))
            print(score.text(split))
            name = f"{args.record}{', quality high' if quality == 'high' else ''}"
            scores.append(RecordedScore(name, score.values(split), network))
        if segmenter.manifest.labels.names == labels.names:
            calibrations.append(fit_and_print_temperature(segmenter, plain_split, gather(segmenter, plain_split, options)))
        else:
            print(f"no temperature is fitted: the file's classes are {', '.join(segmenter.manifest.labels.names)}")
    print(record(path, scores=scores, calibrations=calibrations, notes=args.note))


def _precisions(path: Path) -> Iterator[tuple[str, WeightsFiles]]:
    """The precisions in which a master, or the float32 file of an imported network, can be served; each with its files."""
    if read_imported(path):
        for precision, file in files_by_precision(path).items():
            yield precision, find_files(str(file))
        return
    files = find_files(str(path))
    for precision in dict.fromkeys(("float32", *files.exports)):
        yield precision, files


def _runtime(args: argparse.Namespace, name: str) -> Runtime:
    """The runtime of these weights, with the changes that flags make; a changed network runs on torch."""
    if args.shifts != 1:
        weights = load_weights(find_weights(name))
        runtime: Runtime = TorchRuntime(weights, args.device, args.precision, args.threads, args.shifts)
    else:
        runtime = load_runtime(find_files(name), args.runtime, args.device, args.precision, args.threads)
    runtime.manifest = replace(runtime.manifest, preprocessing=_advised(args, runtime.manifest.preprocessing))
    return runtime


def _advised(args: argparse.Namespace, preprocessing: Preprocessing) -> Preprocessing:
    """The preprocessing with the side of `--advise` and the tile of `--advise-tile`, if given."""
    side = tuple(args.advise) if args.advise else preprocessing.side
    return replace(preprocessing, side=side, tile=args.advise_tile or preprocessing.tile)


if __name__ == "__main__":
    sys.exit(main())
