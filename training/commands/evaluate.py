"""`fcn-evaluate`: scores a weights file on a labelled split, along the served path."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from common.whole_file import begins_with, check_output
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.segmenter import Segmenter
from model.inference.views import Quality
from model.preprocessing import Preprocessing
from model.weights_file import WeightsFiles, find_files, find_weights, load_weights
from training.commands.command import print_lines, run_command
from training.commands.evaluate_arguments import WORST, check_arguments, make_options, parser
from training.data.class_mapping import identity_mapping, parse_class_mapping
from training.data.label_files import find_labels
from training.data.problems import DataError, raise_all
from training.data.split import Split, get_split
from training.publishing.onnx_files import files_by_precision, read_imported, save_manifest
from training.publishing.quantisation import sums_fit_16_bits
from training.reporting.machine import set_threads
from training.scoring.calibration import errors_of_answers, gather
from training.scoring.changes import compare, difference_table
from training.scoring.frame_report import worst, write_json, write_picture
from training.scoring.split_score import SplitScore, fit_and_print_temperature, score_split, with_measurement
from training.survey.inspection import class_errors, meaning, notes
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
    segmenters = [_segmenter(args, find_files(args.weights), args.precision)]
    if args.against:
        other = load_runtime(find_files(args.against), args.runtime, args.device, args.precision, args.threads)
        segmenters.append(Segmenter(other))
    labels = find_labels(args.labels, args.data)
    names = [name for segmenter in segmenters for name in segmenter.manifest.labels.names]
    mapping = parse_class_mapping(args.class_map, labels, names) if args.class_map else None
    split = get_split(args.data, args.split, labels, mapping, args.masks, args.masks_orientation)
    (survey,) = survey_all([split])
    raise_all(class_errors(survey))
    print_lines([meaning(survey), *notes(survey)], sys.stderr)
    if args.record:
        _record(args, split)
    elif args.calibrate:
        _calibrate(segmenters[0], split, options)
    else:
        _score(args, segmenters, split, options)


def _score(args: argparse.Namespace, segmenters: Sequence[Segmenter], split: Split, options: Options) -> None:
    """Scores the first network, compares it with the second if there is one, and writes the files."""
    ours = score_split(segmenters[0], split, options)
    if args.shifts != 1:
        ours = replace(ours, where=f"{ours.where}; shift-and-stitch {args.shifts}x{args.shifts}")
    print(ours.text())
    entry = ours.to_dict()
    for other in segmenters[1:]:
        other_options = replace(options, quality=args.against_quality or args.quality)
        entry["against"] = _compare(ours, score_split(other, split, other_options))
    if args.json:
        write_json(args.json, entry, ours.classes.names, ours.counts, split)
    if args.pictures:
        for rank, index in enumerate(worst(ours.counts, split, args.worst or WORST), 1):
            class_map = segmenters[0](split.file(index), options).class_map
            write_picture(args.pictures, rank, split, index, ours.classes(class_map))


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


def _compare(ours: SplitScore, theirs: SplitScore) -> dict[str, Any]:
    """Prints the differences from the other weights' scores; gives the other weights' entry with the differences."""
    names = max(ours.classes.names, theirs.classes.names, key=len)  # one network alone may have `OTHER`
    our_counts, their_counts = (
        np.pad(each.counts, ((0, 0), *[(0, len(names) - len(each.classes.names))] * 2)) for each in (ours, theirs)
    )
    change = compare(our_counts, their_counts)
    print(difference_table(our_counts, their_counts, change, names))
    other = theirs.segmenter.runtime.identity
    print("\n".join(filter(None, [theirs.classes.line, f"against {other.name} {other.sha256[:16]}, {theirs.where}"])))
    ends = {"iou": [each.rounded() for each in change.classes], "mean_iou": change.mean.rounded()}
    return theirs.to_dict() | {"difference_95": ends}


def _calibrate(segmenter: Segmenter, split: Split, options: Options) -> None:
    """Fits a temperature, and prints the calibration errors."""
    network, names = segmenter.manifest.labels.names, split.labels.names
    if network != names:
        raise DataError(
            f"a temperature is fitted to the network's own classes, {', '.join(network)}, got the labels {', '.join(names)}: "
            "give masks that have them in this order, without --class-map"
        )
    samples = gather(segmenter, split, options)
    fit_and_print_temperature(split, samples)
    answer_error, exact_error = errors_of_answers(samples, segmenter.temperature)
    errors = f"{answer_error:.4f} as it is answered, {exact_error:.4f} by every pixel's softmax"
    print(f"at the file's temperature, {segmenter.temperature}: {errors}")


def _record(args: argparse.Namespace, split: Split) -> None:
    """Scores a file in float32 and in the precision of each export, fits temperatures, and records both together.

    They go into the file, its card and its exports. The tensors do not change.
    """
    onnx_weights = read_imported(Path(args.weights))
    path = Path(args.weights) if onnx_weights else find_weights(args.weights)
    check_output(path)
    manifest = (onnx_weights or load_weights(path)).manifest
    plain_split = replace(split, mapping=identity_mapping(split.source_labels))
    qualities: tuple[Quality, ...] = get_args(Quality) if args.high else ("standard",)
    for precision, files in _precisions(path):
        segmenter = _segmenter(args, files, precision)
        scores, calibration = {}, None
        for quality in qualities:
            score = score_split(segmenter, split, Options(quality=quality))
            print(score.text())
            scores[f"{args.record}{', quality high' if quality == 'high' else ''}"] = score.values
        if segmenter.manifest.labels.names == plain_split.labels.names:
            calibration = fit_and_print_temperature(plain_split, gather(segmenter, plain_split, Options()))
        else:
            print(f"no temperature is fitted: the file's classes are {', '.join(segmenter.manifest.labels.names)}")
        sums_fit = precision == "int8" and sums_fit_16_bits(files.exports["int8"])
        manifest = with_measurement(manifest, segmenter.runtime, split.name, scores, calibration, sums_fit=sums_fit)
    notes = dict.fromkeys([*manifest.training.get("notes", []), *args.note])
    training, preprocessing = {**manifest.training, "notes": list(notes)}, _advised(args, manifest.preprocessing)
    paths = save_manifest(path, replace(manifest, training=training, preprocessing=preprocessing))
    print(f"recorded in {', '.join(map(str, paths))}")


def _precisions(path: Path) -> list[tuple[str, WeightsFiles]]:
    """The precisions in which a master, or the float32 file of an imported network, can be served; each with its files."""
    if read_imported(path):
        return [(precision, find_files(str(file))) for precision, file in files_by_precision(path).items()]
    files = find_files(str(path))
    return [(precision, files) for precision in dict.fromkeys(("float32", *files.exports))]
