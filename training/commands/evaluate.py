"""`fcn-evaluate`: scores a weights file on a labelled split, along the served path."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from model.inference.loading import load_runtime
from model.inference.plan import Options
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
from training.data.class_mapping import ClassMapping, identity_mapping, parse_class_mapping
from training.data.label_files import find_labels
from training.data.split import Split
from training.publishing.onnx_files import files_by_precision, read_imported
from training.publishing.recording import Measurement, record
from training.reporting.machine import set_threads
from training.scoring.calibration import errors_of_answers, gather
from training.scoring.evaluate import difference_table, require_same_classes
from training.scoring.frame_report import worst, write_json, write_picture
from training.scoring.intervals import difference_intervals
from training.scoring.split_score import SplitScore, fit_and_print_temperature, score_split
from training.survey.datasets import get_split
from training.survey.inspection import report_all
from training.survey.records import survey_all


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_command("fcn-evaluate", lambda: _evaluate(args))


def _evaluate(args: argparse.Namespace) -> None:
    set_threads(args.threads)
    check_arguments(args)
    options = make_options(args)
    for path in filter(None, (args.json, args.pictures and args.pictures / "picture.png")):
        check_output(path, begins_with(rb'\{\n "weights": ') if path == args.json else None)
    labels = find_labels(args.labels, args.data)
    mapping = parse_class_mapping(args.class_map, labels) if args.class_map else None
    split = get_split(args.data, args.split, labels, mapping, args.masks, args.masks_orientation)
    (report,) = report_all(survey_all([split], pixels=False))
    print_lines([report.meaning, *report.notes], sys.stderr)
    if args.record:
        _record(args, split, labels, mapping)
        return
    segmenter = _segmenter(args, find_files(args.weights), args.precision)
    if args.calibrate:
        _calibrate(segmenter, split, options)
        return
    other = None
    if args.against:
        other = Segmenter(load_runtime(find_files(args.against), args.runtime, args.device, args.precision, args.threads))
    ours = score_split(segmenter, split, labels, mapping, options)
    if args.shifts != 1:
        ours = replace(ours, where=f"{ours.where}; shift-and-stitch {args.shifts}x{args.shifts}")
    print(ours.text(split))
    facts = ours.facts(split)
    if other:
        other_options = replace(options, quality=args.against_quality or args.quality)
        facts["against"] = _compare(ours, score_split(other, split, labels, mapping, other_options), split)
    if args.json:
        write_json(args.json, facts, ours.counts, split)
    if args.pictures:
        for rank, index in enumerate(worst(ours.counts, split, args.worst or WORST), 1):
            class_map = segmenter(split.file(index), options).class_map
            write_picture(args.pictures, rank, split, index, ours.mapping(class_map) if ours.mapping else class_map)


def _segmenter(args: argparse.Namespace, files: WeightsFiles, precision: str) -> Segmenter:
    """The segmenter of `--weights`, with the side of `--advise`, the tile of `--advise-tile`, and `--shifts`."""
    if args.shifts == 1:
        runtime = load_runtime(files, args.runtime, args.device, precision, args.threads)
    else:
        weights = load_weights(find_weights(args.weights))
        runtime = TorchRuntime(weights, args.device, precision, args.threads, args.shifts)
    runtime.manifest = replace(runtime.manifest, preprocessing=_advised(args, runtime.manifest.preprocessing))
    return Segmenter(runtime)


def _advised(args: argparse.Namespace, preprocessing: Preprocessing) -> Preprocessing:
    side = tuple(args.advise) if args.advise else preprocessing.side
    return replace(preprocessing, side=side, tile=args.advise_tile or preprocessing.tile)


def _compare(ours: SplitScore, theirs: SplitScore, split: Split) -> dict[str, Any]:
    """Prints the differences from the other weights' scores; gives the other weights' facts with the differences."""
    differences = difference_intervals(ours.counts, theirs.counts)
    our_matrix, their_matrix = (ConfusionMatrix.of_frames(each.counts) for each in (ours, theirs))
    print(difference_table(our_matrix, their_matrix, differences, split.labels.names))
    other = theirs.segmenter.runtime.identity
    print(f"against {other.name} {other.sha256[:16]}, {theirs.where}")
    ends = [difference.rounded() for difference in differences]
    return theirs.facts(split) | {"difference_95": {"iou": ends[:-1], "mean_iou": ends[-1]}}


def _calibrate(segmenter: Segmenter, split: Split, options: Options) -> None:
    """Fits a temperature, and prints the calibration errors."""
    require_same_classes(segmenter.manifest.labels, split.labels)
    samples = gather(segmenter, split, options)
    fit_and_print_temperature(split, samples)
    answer_error, exact_error = errors_of_answers(samples, segmenter.temperature)
    errors = f"{answer_error:.4f} as it is answered, {exact_error:.4f} by every pixel's softmax"
    print(f"at the file's temperature, {segmenter.temperature}: {errors}")


def _record(args: argparse.Namespace, split: Split, labels: LabelSet, mapping: ClassMapping | None) -> None:
    """Scores a file in float32 and in the precision of each export, fits temperatures, and records both together."""
    path = Path(args.weights) if read_imported(Path(args.weights)) else find_weights(args.weights)
    check_output(path)
    plain_split = replace(split, mapping=identity_mapping(labels))
    qualities: tuple[Quality, ...] = get_args(Quality) if args.high else ("standard",)
    measurements = []
    for precision, files in _precisions(path):
        segmenter = _segmenter(args, files, precision)
        scores, calibration = {}, None
        for quality in qualities:
            score = score_split(segmenter, split, labels, mapping, Options(quality=quality))
            print(score.text(split))
            scores[f"{args.record}{', quality high' if quality == 'high' else ''}"] = score.values(split)
        if segmenter.manifest.labels.names == labels.names:
            calibration = fit_and_print_temperature(plain_split, gather(segmenter, plain_split, Options()))
        else:
            print(f"no temperature is fitted: the file's classes are {', '.join(segmenter.manifest.labels.names)}")
        measurements.append(Measurement(segmenter.runtime, split.name, scores, calibration))
    print(record(path, measurements, lambda preprocessing: _advised(args, preprocessing), args.note))


def _precisions(path: Path) -> Iterator[tuple[str, WeightsFiles]]:
    """The precisions in which a master, or the float32 file of an imported network, can be served; each with its files."""
    if read_imported(path):
        for precision, file in files_by_precision(path).items():
            yield precision, find_files(str(file))
        return
    files = find_files(str(path))
    for precision in dict.fromkeys(("float32", *files.exports)):
        yield precision, files


if __name__ == "__main__":
    sys.exit(main())
