"""`fcn-evaluate`: scores a weights file on a labelled split, along the served path."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import isnan
from pathlib import Path
from typing import Any, get_args

import numpy as np

from model.inference.runtime import PRECISIONS, RUNTIMES, Runtime, load_runtime
from model.inference.scaling import parse_side
from model.inference.segmenter import Options, Segmenter
from model.inference.tiling import parse_tile
from model.inference.torch_runtime import TorchRuntime
from model.inference.views import Quality
from model.labels import LabelSet
from model.preprocessing import Preprocessing
from model.weights_file import DEFAULT_WEIGHTS, find_files, find_weights, load_weights
from training.boundaries import FRACTION, BoundaryIoU
from training.calibration import calibrate
from training.class_mapping import ClassMapping, parse_class_mapping
from training.datasets import Split, get_split
from training.evaluate import conditions, difference_table, frame_counts, require_same_classes, segmentation, summed, table
from training.frame_report import worst, write_json, write_picture
from training.groups import EACH, GROUP, PATTERN_HELP, groups, only
from training.intervals import Counts, Interval, difference_intervals, mean_iou_interval
from training.label_files import find_labels
from training.machine import INTERRUPTED, set_threads
from training.mask_arguments import add_mask_arguments, tell_of
from training.recording import record_calibration, record_score

HOLE = "{group}"  # in the name of weights: the group that is scored
SKIPS = ("score_pool3.", "score_pool4.")


def parser() -> argparse.ArgumentParser:
    """The command's arguments; tiling defaults are the service's."""
    p = argparse.ArgumentParser("fcn-evaluate", description="Scores of the served path on a labelled split.")
    p.add_argument("--data", type=Path, required=True, help="folder of labelled images, as fcn-train takes it")
    p.add_argument("--split", default="val")
    p.add_argument("--labels", help="label set of the masks: voc, camvid, or a file (default: what the folder tells)")
    add_mask_arguments(p)
    p.add_argument("--class-map", help="fewer classes, for labels and predictions alike: 0=0,8=1,*=0 or sky=up,*=rest")
    p.add_argument("--weights", default=DEFAULT_WEIGHTS)
    p.add_argument("--group", help="score this group of frames alone, such as a drive; each: every group, and their mean")
    p.add_argument("--group-pattern", default=GROUP, help=PATTERN_HELP)
    p.add_argument("--against", help="other weights, scored on the same frames: the differences with their intervals")
    p.add_argument("--against-precision", choices=PRECISIONS, help="of these (default: as --precision)")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the scores there, those of every frame too")
    p.add_argument("--pictures", type=Path, metavar="FOLDER", help="save the worst frames there: photo, label, prediction")
    p.add_argument("--worst", type=int, default=10, help="how many of them (default: 10)")
    p.add_argument("--without-skips", action="store_true", help="with the skips' scores at zero: what the skips add")
    p.add_argument("--side", default="auto", help="auto, native or a number (default: auto)")
    p.add_argument(
        "--quality",
        choices=get_args(Quality),
        default="standard",
        help="as the service's: high averages sizes and mirror images",
    )
    p.add_argument("--against-quality", choices=get_args(Quality), help="of the other weights (default: as --quality)")
    p.add_argument("--tile", type=parse_tile, default=Options.tile, help="auto (the weights' own), a side or HEIGHTxWIDTH")
    p.add_argument("--overlap", type=float, default=Options.overlap)
    p.add_argument("--blend", choices=("mean", "hann"), default=Options.blend)
    p.add_argument("--shifts", type=int, default=1, help="shift-and-stitch with this many shifts per axis (default: none)")
    p.add_argument("--calibrate", action="store_true", help="fit a temperature, and check it on blocks of frames by the others")
    p.add_argument("--runtime", choices=RUNTIMES, default="auto", help="what runs the network (default: as the service)")
    p.add_argument("--device", default="auto")
    p.add_argument("--precision", choices=PRECISIONS, default="auto", help="of the network (default: as the service)")
    p.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's choice)")
    p.add_argument("--advise", type=int, nargs=2, metavar=("LOW", "HIGH"), help="advised range of the longer side to try")
    p.add_argument("--advise-tile", type=parse_tile, metavar="TILE", help="advised tile to try")
    p.add_argument("--record-in", type=Path, help="weights file that is to hold this score; its card is written anew")
    p.add_argument("--record-as", help="the score's name there, such as `CamVid, val`")
    p.add_argument("--note", action="append", default=[], help="a sentence to add to that file's card")
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        set_threads(args.threads)
        return _evaluate(args)
    except (ValueError, OSError) as error:
        print(f"fcn-evaluate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nfcn-evaluate: stopped", file=sys.stderr)
        return INTERRUPTED


def _evaluate(args: argparse.Namespace) -> int:
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
    labels = find_labels(args.labels, args.data)
    mapping = parse_class_mapping(args.class_map, labels) if args.class_map else None
    split = get_split(args.data, args.split, labels, mapping, args.masks, args.masks_orientation)
    options = Options(args.tile, args.overlap, args.blend, parse_side(args.side), args.quality)
    if args.group == EACH:
        tell_of(split)
        return _each(args, split, labels, mapping, options)
    if args.group:
        split = only(split, args.group, args.group_pattern)
    tell_of(split)
    weights = args.weights.replace(HOLE, args.group or HOLE)
    if args.calibrate:
        return _calibrate(args, Segmenter(_runtime(args, weights)), split, options)
    against = _against(args) if args.against else None
    ours = _score(args, Segmenter(_runtime(args, weights)), split, labels, mapping, options)
    print(ours.text(split))
    facts = ours.facts()
    if against:
        other = replace(options, quality=args.against_quality or args.quality)
        facts["against"] = _compare(ours, _score(args, against, split, labels, mapping, other, ""), split)
    if args.json:
        write_json(args.json, facts, ours.counts, split)
    if args.pictures:
        _pictures(args, ours, split)
    if args.record_in:
        identity, advise = ours.segmenter.runtime.identity, partial(_advised, args)
        print(record_score(args.record_in, args.record_as, ours.recorded(split), identity, advise, args.note))
    return 0


@dataclass(frozen=True)
class _Scored:
    """One network's confusion matrices (F, n, n) over the frames of a split, and under what they were found."""

    segmenter: Segmenter
    options: Options
    mapping: ClassMapping | None
    counts: Counts
    where: str
    boundary_iou: float

    @cached_property
    def interval(self) -> Interval:
        return mean_iou_interval(self.counts)

    def text(self, split: Split) -> str:
        """The table, the interval and the conditions."""
        identity = self.segmenter.runtime.identity
        drawn = f"95% of draws of {len(self.counts)} frames: mean IoU {self.interval.low:.3f} to {self.interval.high:.3f}"
        scores = table(summed(self.counts), split.labels.names)
        near = f"mean IoU near borders, within {FRACTION:.0%} of the diagonal: {self.boundary_iou:.3f}"
        return f"{scores}\n{drawn}\n{near}\n{identity.name} {identity.sha256[:16]}, {self.where}"

    def facts(self) -> dict[str, Any]:
        identity = self.segmenter.runtime.identity
        told = {"weights": identity.name, "sha256": identity.sha256, "conditions": self.where}
        return told | summed(self.counts).scores() | self._further()

    def recorded(self, split: Split) -> dict[str, Any]:
        """As a weights file stores it."""
        scores = summed(self.counts).scores() | self._further()
        return scores | {"classes": split.labels.names, "conditions": self.where}

    def _further(self) -> dict[str, Any]:
        near = None if isnan(self.boundary_iou) else round(self.boundary_iou, 6)
        return {"mean_iou_95": self.interval.rounded(), "boundary_iou": near}


def _score(
    args: argparse.Namespace,
    segmenter: Segmenter,
    split: Split,
    labels: LabelSet,
    mapping: ClassMapping | None,
    options: Options,
    changes: str | None = None,
) -> _Scored:
    # a file that was trained with this mapping gives its ids already
    mapped = None if mapping and segmenter.manifest.labels.names == mapping.labels.names else mapping
    if mapped:
        require_same_classes(segmenter.manifest.labels, labels)
        mapped = mapped.of_predictions(labels)
    boundaries = BoundaryIoU(len(split.labels))
    found = frame_counts(segmenter, split, options, mapped, boundaries)
    frames = f"{len(split.frames)} frames (list {split.digest[:16]})"
    told = _changes(args) if changes is None else changes
    where = f"{frames}, {conditions(segmenter, options)}{told}"
    return _Scored(segmenter, options, mapped, found, where, boundaries.mean_iou)


def _against(args: argparse.Namespace) -> Segmenter:
    """The other weights', on the same runtime; what other flags change of the network is not changed of theirs."""
    name, precision = args.against.replace(HOLE, args.group or HOLE), args.against_precision or args.precision
    return Segmenter(load_runtime(find_files(name), args.runtime, args.device, precision, args.threads))


def _compare(ours: _Scored, theirs: _Scored, split: Split) -> dict[str, Any]:
    """Prints what the weights score more, or less, than the others; gives the others' facts with the differences."""
    differences = difference_intervals(ours.counts, theirs.counts)
    print(difference_table(summed(ours.counts), summed(theirs.counts), differences, split.labels.names))
    identity = theirs.segmenter.runtime.identity
    print(f"against {identity.name} {identity.sha256[:16]}, {theirs.where}")
    ends = [difference.rounded() for difference in differences]
    return theirs.facts() | {"difference_95": {"iou": ends[:-1], "mean_iou": ends[-1]}}


def _each(args: argparse.Namespace, split: Split, labels: LabelSet, mapping: ClassMapping | None, options: Options) -> int:
    """Scores every group, by weights of its own where their name has `{group}` in it, and prints the mean."""
    if args.calibrate or args.record_in or args.against or args.json or args.pictures:
        raise ValueError(
            f"--group {EACH} prints a table; give --calibrate, --record-in, --against, --json and --pictures with one group"
        )
    means = []
    for group in groups(split, args.group_pattern):
        segmenter = Segmenter(_runtime(args, args.weights.replace(HOLE, group)))
        found = _score(args, segmenter, only(split, group, args.group_pattern), labels, mapping, options)
        means.append(found.interval.value)
        ends = f"{found.interval.low:.3f} to {found.interval.high:.3f}"
        print(f"{group}: mean IoU {found.interval.value:.4f} ({ends}), {found.where}")
    print(f"mean of {len(means)} groups: {sum(means) / len(means):.4f}")
    return 0


def _pictures(args: argparse.Namespace, ours: _Scored, split: Split) -> None:
    for rank, index in enumerate(worst(ours.counts, split, args.worst), 1):
        found = segmentation(ours.segmenter, split.file(index), ours.options).class_map
        write_picture(args.pictures, rank, split, index, ours.mapping(found) if ours.mapping else found)


def _changes(args: argparse.Namespace) -> str:
    """What flags changed of the network, for the score's conditions."""
    shifts = f"; shift-and-stitch {args.shifts}x{args.shifts}" if args.shifts != 1 else ""
    return shifts + ("; skips' scores at zero" if args.without_skips else "")


def _calibrate(args: argparse.Namespace, segmenter: Segmenter, split: Split, options: Options) -> int:
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
    split.check()
    found = calibrate(segmenter, split, options)
    print(f"temperature {found.temperature}, fitted on {found.frames} frames of {split.name}")
    checked = f"with that of the other blocks {found.ece_after:.4f}"
    print(f"expected calibration error over {found.blocks} blocks of them: {found.ece_before:.4f}, {checked}")
    if found.at_the_edge:
        print("that temperature is the edge of what is looked for: these logits are never wrong, or tell nothing of the labels")
    if args.record_in:
        print(record_calibration(args.record_in, found, split.name, segmenter.runtime.identity.precision))
    return 0


def _runtime(args: argparse.Namespace, name: str) -> Runtime:
    """The network on its runtime, with what the flags change of it; a changed one runs on torch."""
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
    """With the advice that is tried, where there is one."""
    side = tuple(args.advise) if args.advise else preprocessing.side
    return replace(preprocessing, side=side, tile=args.advise_tile or preprocessing.tile)


if __name__ == "__main__":
    sys.exit(main())
