"""The arguments of `fcn-evaluate`. This module needs no PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from common.command_line import CommandParser, argument_type
from model.inference.loading import PRECISIONS, RUNTIMES
from model.inference.plan import Options
from model.inference.scaling import parse_side
from model.inference.tiling import parse_tile
from model.inference.views import Quality
from model.weights_file import DEFAULT_WEIGHTS
from training.commands.command import add_label_options, add_option, check_companions, options_present

WORST = 10  # how many frames --pictures saves
SCORING = ("against", "json", "pictures")  # options on the scores of one network


def parser() -> argparse.ArgumentParser:
    """The command's arguments; the defaults of tiling are those of the service."""
    p = CommandParser("fcn-evaluate", description="Scores weights on a labelled split, by the path that the service takes.")
    group = p.add_argument_group("data")
    add_option(group, "--data", Path, "folder of labelled images, as for fcn-train", required=True)
    add_option(group, "--split", "val", "split to score on (default: val)")
    add_label_options(group)

    group = p.add_argument_group("weights and the runtime")
    add_option(group, "--weights", DEFAULT_WEIGHTS, f"a file, or a name in weights/ (default: {DEFAULT_WEIGHTS})")
    add_option(group, "--runtime", "auto", "runtime of the network (default: as in the service)", choices=RUNTIMES)
    add_option(group, "--device", "auto", "auto, cpu, cuda, cuda:N or mps (default: auto)")
    add_option(group, "--precision", "auto", "precision of the network (default: as in the service)", choices=PRECISIONS)
    add_option(group, "--threads", 0, "CPU threads of the network (default: one for each core)")

    group = p.add_argument_group("how the network sees the image")
    add_option(group, "--side", "auto", "longer side that the network sees: auto, native or a number (default: auto)")
    quality = "high averages several sizes and mirror images, as in the service (default: standard)"
    add_option(group, "--quality", "standard", quality, choices=get_args(Quality))
    tile = argument_type(parse_tile)
    group.add_argument("--tile", type=tile, default=Options.tile, help="auto (the weights' own), a side or HEIGHTxWIDTH")
    overlap = f"how much tiles overlap, as a share of a tile (default: {Options.overlap})"
    add_option(group, "--overlap", Options.overlap, overlap)
    blend = f"how overlapping tiles are averaged (default: {Options.blend})"
    add_option(group, "--blend", Options.blend, blend, choices=("mean", "hann"))
    add_option(group, "--shifts", 1, "shift-and-stitch with this many shifts per axis, in PyTorch (default: none)")
    advise = "use this range of the longer side instead of the file's; --record writes it into the file"
    add_option(group, "--advise", int, advise, nargs=2, metavar=("LOW", "HIGH"))
    advise_tile = "use this tile instead of the file's; --record writes it into the file"
    group.add_argument("--advise-tile", type=tile, metavar="TILE", help=advise_tile)

    group = p.add_argument_group("comparison with other weights")
    against = "weights to compare with on the same frames; prints the change of each IoU with its interval"
    add_option(group, "--against", str, against, metavar="WEIGHTS")
    of_against = "quality for the weights of --against (default: --quality)"
    add_option(group, "--against-quality", str, of_against, choices=get_args(Quality))

    group = p.add_argument_group("results")
    add_option(group, "--json", Path, "file to write all scores to, with those of each frame", metavar="FILE")
    add_option(group, "--pictures", Path, "folder to save the worst frames to: photo, label, prediction", metavar="FOLDER")
    add_option(group, "--worst", int, f"how many frames --pictures saves (default: {WORST})")
    calibrate = (
        "instead of scoring, fit a temperature for the confidence, and check it on frames that it was not fitted on; "
        "--calibration of fcn-export is something else: photos for int8"
    )
    group.add_argument("--calibrate", action="store_true", help=calibrate)
    record = "score the file in each of its precisions, fit temperatures, and write both into file, card and exports"
    add_option(group, "--record", str, record, metavar="NAME")
    group.add_argument("--high", action="store_true", help="with --record: also score --quality high")
    group.add_argument("--note", action="append", default=[], help="a sentence to add to the card of --record")
    return p


def make_options(args: argparse.Namespace) -> Options:
    """The options of the served path; raises `ValueError` for a value out of range."""
    return Options(args.tile, args.overlap, args.blend, parse_side(args.side), args.quality)


def check_arguments(args: argparse.Namespace) -> None:
    """Raises `ValueError` for options that have no effect beside the others, before anything is read."""
    check_companions(args, {"note": "record", "high": "record", "worst": "pictures", "against_quality": "against"})
    if args.worst is not None and args.worst < 1:
        raise ValueError(f"worst must be at least 1, got {args.worst}")
    if args.shifts != 1 and (args.runtime == "openvino" or args.record or args.calibrate):
        raise ValueError("--shifts runs another network, in PyTorch; leave out --runtime, --record and --calibrate")
    if args.record:
        if others := options_present(args, ("calibrate", *SCORING)):
            raise ValueError(f"--record scores and records one file; give {others} without it")
        if make_options(args) != Options() or args.precision != "auto":
            own = "--side, --tile, --overlap, --blend, --quality and --precision"
            raise ValueError(f"--record scores the file as it is served, in each of its precisions; give it without {own}")
    if args.calibrate and (others := options_present(args, SCORING)):
        raise ValueError(f"--calibrate fits a temperature and scores nothing; give {others} without it")
