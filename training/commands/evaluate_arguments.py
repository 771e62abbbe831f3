"""The arguments of `fcn-evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from model.command_line import CommandParser, argument_type
from model.inference.loading import PRECISIONS, RUNTIMES
from model.inference.plan import Options
from model.inference.scaling import parse_side
from model.inference.tiling import parse_tile
from model.inference.views import Quality
from model.weights_file import DEFAULT_WEIGHTS
from training.commands.mask_arguments import add_mask_arguments
from training.survey.folds import EACH, GROUP, PATTERN_HELP

WORST = 10  # how many frames --pictures saves


def parser() -> argparse.ArgumentParser:
    """The command's arguments; the defaults of tiling are those of the service."""
    p = CommandParser("fcn-evaluate", description="Scores weights on a labelled split, by the path that the service takes.")
    _add_data(p)
    _add_network(p)
    _add_inference(p)
    _add_comparison(p)
    _add_results(p)
    return p


def _add_data(p: argparse.ArgumentParser) -> None:
    """Adds the arguments on the split to score on, its classes and its groups."""
    group = p.add_argument_group("data")
    group.add_argument("--data", type=Path, required=True, help="folder of labelled images, as for fcn-train")
    group.add_argument("--split", default="val", help="split to score on (default: val)")
    group.add_argument(
        "--labels", help="classes of the masks: voc, camvid, or a file (default: the file in the data's folder, or its layout)"
    )
    add_mask_arguments(group)
    group.add_argument(
        "--class-map", help="map labels and predictions to fewer classes: 0=0,8=1,*=0 or sky=up,*=rest (*: all other classes)"
    )
    group.add_argument(
        "--group", help="score only this group of frames, such as a drive; each: every group in turn, and the mean"
    )
    group.add_argument("--group-pattern", default=GROUP, help=PATTERN_HELP)


def _add_network(p: argparse.ArgumentParser) -> None:
    """Adds the arguments on the weights and on what runs the network."""
    group = p.add_argument_group("weights and the runtime")
    group.add_argument("--weights", default=DEFAULT_WEIGHTS, help=f"a file, or a name in weights/ (default: {DEFAULT_WEIGHTS})")
    group.add_argument(
        "--runtime", choices=RUNTIMES, default="auto", help="runtime of the network (default: as in the service)"
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    group.add_argument(
        "--precision", choices=PRECISIONS, default="auto", help="precision of the network (default: as in the service)"
    )
    group.add_argument("--threads", type=int, default=0, help="CPU threads of the network (default: one for each core)")


def _add_inference(p: argparse.ArgumentParser) -> None:
    """Adds the arguments on the working size, the tiles and the views."""
    group = p.add_argument_group("how the network sees the image")
    group.add_argument(
        "--side", default="auto", help="longer side that the network sees: auto, native or a number (default: auto)"
    )
    group.add_argument(
        "--quality",
        choices=get_args(Quality),
        default="standard",
        help="high averages several sizes and mirror images, as in the service (default: standard)",
    )
    group.add_argument(
        "--tile", type=argument_type(parse_tile), default=Options.tile, help="auto (the weights' own), a side or HEIGHTxWIDTH"
    )
    group.add_argument(
        "--overlap",
        type=float,
        default=Options.overlap,
        help=f"how much tiles overlap, as a share of a tile (default: {Options.overlap})",
    )
    group.add_argument(
        "--blend",
        choices=("mean", "hann"),
        default=Options.blend,
        help=f"how overlapping tiles are averaged (default: {Options.blend})",
    )
    group.add_argument(
        "--advise", type=int, nargs=2, metavar=("LOW", "HIGH"), help="use this range of the longer side instead of the file's"
    )
    group.add_argument(
        "--advise-tile", type=argument_type(parse_tile), metavar="TILE", help="use this tile instead of the file's"
    )
    group.add_argument("--shifts", type=int, default=1, help="shift-and-stitch with this many shifts per axis (default: none)")


def _add_comparison(p: argparse.ArgumentParser) -> None:
    """Adds the arguments on the weights to compare with."""
    group = p.add_argument_group("comparison with other weights")
    group.add_argument(
        "--against", help="weights to compare with on the same frames; prints the change of each IoU with its interval"
    )
    group.add_argument(
        "--against-quality", choices=get_args(Quality), help="quality for the weights of --against (default: --quality)"
    )


def _add_results(p: argparse.ArgumentParser) -> None:
    """Adds the arguments on the files that the command writes."""
    group = p.add_argument_group("results")
    group.add_argument("--json", type=Path, metavar="FILE", help="file to write all scores to, with those of each frame")
    group.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="folder to save the worst frames to: photo, label, prediction"
    )
    group.add_argument("--worst", type=int, help=f"how many frames --pictures saves (default: {WORST})")
    group.add_argument(
        "--calibrate",
        action="store_true",
        help="instead of scoring, fit a temperature for the confidence, and check it on frames that it was not fitted on; "
        "--calibration of fcn-export is something else: photos for int8",
    )
    group.add_argument(
        "--record",
        metavar="NAME",
        help="score the file in each of its precisions, fit temperatures, and write both into file, card and exports",
    )
    group.add_argument("--high", action="store_true", help="with --record: also score --quality high")
    group.add_argument("--record-in", type=Path, help="weights file to write this score into; its card is updated")
    group.add_argument("--record-as", help="name of this score, such as `CamVid, val`")
    group.add_argument("--note", action="append", default=[], help="a sentence to add to the card of --record or --record-in")


def make_options(args: argparse.Namespace) -> Options:
    """The options of the served path; raises `ValueError` for a value out of range."""
    return Options(args.tile, args.overlap, args.blend, parse_side(args.side), args.quality)


def check_arguments(args: argparse.Namespace) -> None:
    """Raises `ValueError` for options that have no effect beside the others, before anything is read."""
    _require_companions(args)
    if args.group == EACH:
        names: tuple[str, ...] = ("calibrate", "record", "record_in", "against", "json", "pictures")
        _refuse(args, names, f"--group {EACH} prints a table", "with one group")
    if args.record:
        names = ("calibrate", "record_in", "record_as", "against", "json", "pictures")
        _refuse(args, names, "--record scores and records one file", "without it")
        if _changes_network(args) or make_options(args) != Options():
            raise ValueError(
                "--record scores the file as it is served; give --record-in FILE --record-as NAME for other options"
            )
        if args.precision != "auto":
            raise ValueError("--record scores the file in each of its precisions; give it without --precision")
    if args.calibrate:
        names = ("record_as", "against", "json", "pictures")
        _refuse(args, names, "--calibrate fits a temperature and scores nothing", "without it")
        if _changes_network(args) or (args.record_in and make_options(args) != Options()):
            raise ValueError(
                "a temperature is for the file as it is served: give --calibrate without --shifts, --advise and "
                "--advise-tile, and with --record-in without --side, --tile, --overlap, --blend and --quality"
            )
        if args.class_map:
            raise ValueError("confidence is that of the file's own classes: give --calibrate without --class-map")


def _require_companions(args: argparse.Namespace) -> None:
    """Raises `ValueError` for an option without the one that it belongs to."""
    if args.record_as and args.record_in is None:
        raise ValueError("give --record-in FILE with --record-as")
    if args.record_in and not args.record_in.is_file():
        raise ValueError(f"--record-in must be a weights file, got {args.record_in}")
    if args.record_in and not (args.record_as or args.calibrate):
        raise ValueError("give --record-as NAME, or --calibrate, with --record-in")
    if args.note and not (args.record_in or args.record):
        raise ValueError("give --record-in FILE or --record NAME with --note")
    if args.worst is not None and args.pictures is None:
        raise ValueError("give --pictures FOLDER with --worst")
    if args.worst is not None and args.worst < 1:
        raise ValueError(f"worst must be at least 1, got {args.worst}")
    if args.group_pattern != GROUP and not args.group:
        raise ValueError("give --group NAME with --group-pattern")
    if args.shifts != 1 and args.runtime == "openvino":
        raise ValueError("--shifts changes the network, which runs on PyTorch then; leave out --runtime")
    if args.against_quality and args.against is None:
        raise ValueError("give --against WEIGHTS with --against-quality")
    if args.high and not args.record:
        raise ValueError("give --record NAME with --high; --quality high scores it without recording")


def _refuse(args: argparse.Namespace, names: Sequence[str], reason: str, remedy: str) -> None:
    """Raises `ValueError` if one of these options is there; remedy: how to give it instead."""
    if flags := [f"--{name.replace('_', '-')}" for name in names if getattr(args, name)]:
        raise ValueError(f"{reason}; give {', '.join(flags)} {remedy}")


def _changes_network(args: argparse.Namespace) -> bool:
    """Whether a flag changes the network or the advice in its file."""
    return bool(args.shifts != 1 or args.advise or args.advise_tile)
