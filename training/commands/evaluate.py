"""`fcn-evaluate`: scores a weights file on a labelled split, along the served path."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from model.command_line import CommandParser
from model.inference.loading import PRECISIONS, RUNTIMES, load_runtime
from model.inference.runtime import Runtime
from model.inference.runtimes.torch_runtime import TorchRuntime
from model.inference.scaling import parse_side
from model.inference.segmenter import Options, Segmenter
from model.inference.tiling import parse_tile
from model.inference.views import Quality
from model.labels import LabelSet
from model.preprocessing import Preprocessing
from model.weights_file import DEFAULT_WEIGHTS, find_files, find_weights, load_weights
from training.commands.command import run_command
from training.commands.mask_arguments import add_mask_arguments, tell_of
from training.data.class_mapping import ClassMapping, identity, parse_class_mapping
from training.data.datasets import get_split
from training.data.groups import EACH, GROUP, PATTERN_HELP, groups, only
from training.data.label_files import find_labels
from training.data.split import Split
from training.reporting.machine import set_threads
from training.reporting.recording import Measured, RecordedScore, record
from training.scoring.calibration import errors_of_answers, gather
from training.scoring.evaluate import difference_table, require_same_classes, summed
from training.scoring.frame_report import worst, write_json, write_picture
from training.scoring.intervals import difference_intervals
from training.scoring.scorer import Scored, fit_temperature, score

HOLE = "{group}"  # in the name of weights, replaced with the name of the scored group
SKIPS = ("score_pool3.", "score_pool4.")  # prefixes of the skips' tensors


def parser() -> argparse.ArgumentParser:
    """The command's arguments; the defaults of tiling are those of the service."""
    p = CommandParser("fcn-evaluate", description="Scores of the served path on a labelled split.")
    p.add_argument("--data", type=Path, required=True, help="folder of labelled images, as fcn-train takes it")
    p.add_argument("--split", default="val", help="split to score on (default: val)")
    p.add_argument(
        "--labels", help="classes of the masks: voc, camvid, or a file (default: the file in the data's folder, or its layout)"
    )
    add_mask_arguments(p)
    p.add_argument(
        "--class-map", help="map labels and predictions to fewer classes: 0=0,8=1,*=0 or sky=up,*=rest (*: all other classes)"
    )
    p.add_argument("--weights", default=DEFAULT_WEIGHTS, help=f"a file, or a name in weights/ (default: {DEFAULT_WEIGHTS})")
    p.add_argument("--group", help="score only this group of frames, such as a drive; each: every group in turn, and the mean")
    p.add_argument("--group-pattern", default=GROUP, help=PATTERN_HELP)
    p.add_argument(
        "--against", help="weights to compare with on the same frames; prints the change of each IoU with its interval"
    )
    p.add_argument(
        "--against-precision", choices=PRECISIONS, help="precision of the weights of --against (default: --precision)"
    )
    p.add_argument("--json", type=Path, metavar="FILE", help="file to write all scores to, also those of each frame")
    p.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="folder to save the worst frames to: photo, label, prediction"
    )
    p.add_argument("--worst", type=int, default=10, help="how many frames --pictures saves (default: 10)")
    p.add_argument(
        "--without-skips", action="store_true", help="set the scores of the skips to zero, to measure what the skips add"
    )
    p.add_argument("--side", default="auto", help="longer side that the network sees: auto, native or a number (default: auto)")
    p.add_argument(
        "--quality",
        choices=get_args(Quality),
        default="standard",
        help="high averages several sizes and mirror images, as in the service (default: standard)",
    )
    p.add_argument(
        "--against-quality", choices=get_args(Quality), help="quality for the weights of --against (default: --quality)"
    )
    p.add_argument("--tile", type=parse_tile, default=Options.tile, help="auto (the weights' own), a side or HEIGHTxWIDTH")
    p.add_argument("--overlap", type=float, default=Options.overlap, help=f"share of a tile (default: {Options.overlap})")
    p.add_argument("--blend", choices=("mean", "hann"), default=Options.blend, help="weights of overlapping tiles")
    p.add_argument("--shifts", type=int, default=1, help="shift-and-stitch with this many shifts per axis (default: none)")
    p.add_argument(
        "--calibrate", action="store_true", help="fit a temperature, and check it on blocks of frames that it was not fitted on"
    )
    p.add_argument("--runtime", choices=RUNTIMES, default="auto", help="runtime of the network (default: as in the service)")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    p.add_argument(
        "--precision", choices=PRECISIONS, default="auto", help="precision of the network (default: as in the service)"
    )
    p.add_argument("--threads", type=int, default=0, help="CPU threads of the network (default: one for each core)")
    p.add_argument(
        "--advise", type=int, nargs=2, metavar=("LOW", "HIGH"), help="range of the longer side to use instead of the file's"
    )
    p.add_argument("--advise-tile", type=parse_tile, metavar="TILE", help="tile to use instead of the file's")
    p.add_argument(
        "--record",
        metavar="NAME",
        help="score the file in each of its precisions, fit temperatures, and write both into file, card and exports",
    )
    p.add_argument("--high", action="store_true", help="with --record: also score --quality high")
    p.add_argument("--record-in", type=Path, help="weights file to write this score into; its card is updated")
    p.add_argument("--record-as", help="name of the score in that file, such as `CamVid, val`")
    p.add_argument("--note", action="append", default=[], help="a sentence to add to that file's card")
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_command("fcn-evaluate", lambda: _evaluate(args))


def _evaluate(args: argparse.Namespace) -> None:
    set_threads(args.threads)
    if args.record_as and args.record_in is None:
        raise ValueError("give --record-in FILE with --record-as")
    if args.record_in and not args.record_in.is_file():
        raise ValueError(f"--record-in must be a weights file, got {args.record_in}")
    if args.record_in and not (args.record_as or args.calibrate):
        raise ValueError("give --record-as NAME, or --calibrate, with --record-in")
    if args.worst < 1:
        raise ValueError(f"worst must be at least 1, got {args.worst}")
    if (args.against_precision or args.against_quality) and args.against is None:
        raise ValueError("give --against WEIGHTS with --against-precision and --against-quality")
    if args.high and not args.record:
        raise ValueError("give --record NAME with --high; --quality high scores it without recording")
    labels = find_labels(args.labels, args.data)
    mapping = parse_class_mapping(args.class_map, labels) if args.class_map else None
    split = get_split(args.data, args.split, labels, mapping, args.masks, args.masks_orientation)
    options = Options(args.tile, args.overlap, args.blend, parse_side(args.side), args.quality)
    if args.group == EACH:
        tell_of(split)
        _score_each_group(args, split, labels, mapping, options)
        return
    if args.group:
        split = only(split, args.group, args.group_pattern)
    tell_of(split)
    weights = args.weights.replace(HOLE, args.group or HOLE)
    if args.record:
        _record(args, find_weights(weights), split, labels, mapping, options)
        return
    if args.calibrate:
        _calibrate(args, Segmenter(_runtime(args, weights)), split, options)
        return
    other_segmenter = _other_segmenter(args) if args.against else None
    ours = score(Segmenter(_runtime(args, weights)), split, labels, mapping, options, _changes(args))
    print(ours.text(split))
    facts = ours.facts()
    if other_segmenter:
        other_options = replace(options, quality=args.against_quality or args.quality)
        facts["against"] = _compare(ours, score(other_segmenter, split, labels, mapping, other_options), split)
    if args.json:
        write_json(args.json, facts, ours.counts, split)
    if args.pictures:
        _pictures(args, ours, split)
    if args.record_in:
        recorded = RecordedScore(args.record_as, ours.recorded(split), Measured.of(ours.segmenter.runtime))
        print(record(args.record_in, scores=[recorded], advise=partial(_advised, args), notes=args.note))


def _other_segmenter(args: argparse.Namespace) -> Segmenter:
    """The segmenter of `--against`, on the same runtime; flags that change the network, such as `--shifts`, do not apply."""
    name, precision = args.against.replace(HOLE, args.group or HOLE), args.against_precision or args.precision
    return Segmenter(load_runtime(find_files(name), args.runtime, args.device, precision, args.threads))


def _compare(ours: Scored, theirs: Scored, split: Split) -> dict[str, Any]:
    """Prints the differences from the other weights' scores; gives the other weights' facts with the differences."""
    differences = difference_intervals(ours.counts, theirs.counts)
    print(difference_table(summed(ours.counts), summed(theirs.counts), differences, split.labels.names))
    identity = theirs.segmenter.runtime.identity
    print(f"against {identity.name} {identity.sha256[:16]}, {theirs.where}")
    ends = [difference.rounded() for difference in differences]
    return theirs.facts() | {"difference_95": {"iou": ends[:-1], "mean_iou": ends[-1]}}


def _score_each_group(
    args: argparse.Namespace, split: Split, labels: LabelSet, mapping: ClassMapping | None, options: Options
) -> None:
    """Scores every group and prints the mean; if `--weights` contains `{group}`, each group has its own weights."""
    if args.calibrate or args.record or args.record_in or args.against or args.json or args.pictures:
        raise ValueError(
            f"--group {EACH} prints a table; give --calibrate, --record, --record-in, --against, --json and --pictures "
            "with one group"
        )
    means = []
    for group in groups(split, args.group_pattern):
        segmenter = Segmenter(_runtime(args, args.weights.replace(HOLE, group)))
        result = score(segmenter, only(split, group, args.group_pattern), labels, mapping, options, _changes(args))
        means.append(result.interval.value)
        print(f"{group}: mean IoU {result.interval.value:.4f} ({result.interval}), {result.where}")
    print(f"mean of {len(means)} groups: {sum(means) / len(means):.4f}")


def _pictures(args: argparse.Namespace, ours: Scored, split: Split) -> None:
    """Saves pictures of the worst frames."""
    for rank, index in enumerate(worst(ours.counts, split, args.worst), 1):
        class_map = ours.segmenter(split.file(index), ours.options).class_map
        write_picture(args.pictures, rank, split, index, ours.mapping(class_map) if ours.mapping else class_map)


def _changes(args: argparse.Namespace) -> str:
    """The changes that flags make to the network, as text for the score's conditions."""
    shifts = f"; shift-and-stitch {args.shifts}x{args.shifts}" if args.shifts != 1 else ""
    return shifts + ("; skips' scores at zero" if args.without_skips else "")


def _calibrate(args: argparse.Namespace, segmenter: Segmenter, split: Split, options: Options) -> None:
    """Fits a temperature, prints the calibration errors, and records the temperature in `--record-in`."""
    if args.record_in and load_weights(args.record_in).sha256 != segmenter.runtime.identity.sha256:
        raise ValueError(
            "a temperature belongs to the file that it was fitted for: give --weights and --record-in the same one"
        )
    if args.without_skips or args.shifts != 1 or args.advise or args.advise_tile or (args.record_in and options != Options()):
        raise ValueError(
            "a temperature is for the file as it is served: give --calibrate without --without-skips, --shifts, --advise and "
            "--advise-tile, and with --record-in without --side, --tile, --overlap, --blend and --quality"
        )
    if args.class_map:
        raise ValueError("confidence is that of the file's own classes: give --calibrate without --class-map")
    require_same_classes(segmenter.manifest.labels, split.labels)
    samples = gather(segmenter, split, options)
    fit = fit_temperature(segmenter, split, samples)
    answered, exact = errors_of_answers(samples, segmenter.temperature)
    errors = f"{answered:.4f} as it is answered, {exact:.4f} by every pixel's softmax"
    print(f"at the file's temperature, {segmenter.temperature}: {errors}")
    if args.record_in:
        print(record(args.record_in, calibrations=[fit]))


def _record(
    args: argparse.Namespace, path: Path, split: Split, labels: LabelSet, mapping: ClassMapping | None, options: Options
) -> None:
    """Scores a master in float32 and in the precision of each export, fits temperatures, and records both together."""
    if args.calibrate or args.record_in or args.record_as or args.against or args.json or args.pictures:
        raise ValueError("--record scores and records one file; give --against, --json, --pictures and --calibrate without it")
    if args.without_skips or args.shifts != 1 or args.advise or args.advise_tile or options != Options():
        raise ValueError("--record scores the file as it is served; give --record-in FILE --record-as NAME for other options")
    unmapped = replace(split, mapping=identity(labels))
    scores, calibrations = [], []
    for precision in ("float32", *(name for name in find_files(str(path)).exports if name != "float32")):
        segmenter = Segmenter(load_runtime(find_files(str(path)), args.runtime, args.device, precision, args.threads))
        measured = Measured.of(segmenter.runtime)
        for quality in get_args(Quality) if args.high else ("standard",):
            scored = score(segmenter, split, labels, mapping, replace(options, quality=quality))
            print(scored.text(split))
            name = f"{args.record}{', quality high' if quality == 'high' else ''}"
            scores.append(RecordedScore(name, scored.recorded(split), measured))
        if segmenter.manifest.labels.names == labels.names:
            calibrations.append(fit_temperature(segmenter, unmapped, gather(segmenter, unmapped, options)))
        else:
            print(f"no temperature is fitted: the file's classes are {', '.join(segmenter.manifest.labels.names)}")
    print(record(path, scores=scores, calibrations=calibrations, notes=args.note))


def _runtime(args: argparse.Namespace, name: str) -> Runtime:
    """The runtime of these weights, with the changes that flags make; a changed network runs on torch."""
    if args.without_skips or args.shifts != 1:
        weights = load_weights(find_weights(name))
        if args.without_skips:
            tensors = {n: np.zeros_like(t) if n.startswith(SKIPS) else t for n, t in weights.tensors.items()}
            weights = replace(weights, tensors=tensors)
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
