"""The arguments of `fcn-train`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from model.command_line import CommandParser
from training.commands.mask_arguments import add_split_arguments
from training.learning.recipe import CACHE_MB
from training.survey.groups import EACH, PATTERN_HELP

LONGEST_NAME = 200  # bytes, without endings such as .safetensors
FLAGS = {
    "variant": str,
    "backbone": str,
    "output_stride": int,
    "epochs": int,
    "batch": int,
    "learning_rate": float,
    "class_weights": str,
    "autocast": str,
    "seed": int,
}


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = CommandParser("fcn-train", description="Trains an FCN and writes its weights file and model card.")
    _add_data(p)
    _add_recipe(p)
    _add_schedule(p)
    _add_machine(p)
    _add_results(p)
    return p


def _add_data(p: argparse.ArgumentParser) -> None:
    """Adds the arguments on the splits, their classes and their groups."""
    group = p.add_argument_group("data")
    group.add_argument("--data", type=Path, help="folder of labelled images: images/ and masks/, a VOCdevkit, or CamVid")
    group.add_argument("--demo", action="store_true", help="train a tiny network on generated shapes, in a minute or two")
    add_split_arguments(group)
    group.add_argument("--score-map", help="score on fewer classes than the trained ones; written as --class-map")
    group.add_argument(
        "--group", help="train on the other groups of the train split, and score on this one; each: every group in turn"
    )
    group.add_argument("--group-pattern", help=f"{PATTERN_HELP}; with --folds, frames of one group stay in one fold")
    group.add_argument("--data-name", default="", help="name of the data set in the card (default: its folder's name)")


def _add_recipe(p: argparse.ArgumentParser) -> None:
    """Adds the arguments on the weights to begin with, the recipe and the teacher."""
    group = p.add_argument_group("recipe and start")
    group.add_argument(
        "--start",
        default="none",
        help="weights to begin with: none, imagenet (torchvision's), a file, or a name in weights/ (default: none)",
    )
    group.add_argument(
        "--teacher",
        type=Path,
        help="weights file of a network whose probabilities the new one also learns; needs --set teacher_weight=NUMBER",
    )
    group.add_argument(
        "--recipe", type=Path, help="TOML file of hyperparameters; --set and options such as --epochs override it"
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a value of the recipe, as in TOML; can be repeated",
    )
    for name, kind in FLAGS.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, default=None, help=f"{name} in place of the recipe's")


def _add_schedule(p: argparse.ArgumentParser) -> None:
    """Adds the arguments on the number of trainings, on scores and on the end."""
    group = p.add_argument_group("trainings and scores")
    group.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="train N times with different seeds; prints mean and deviation of the scores, averages the weights (default: 1)",
    )
    group.add_argument(
        "--folds",
        type=int,
        default=0,
        metavar="K",
        help="divide the frames of train and val into K folds, train K times without one of them, and score each frame by the "
        "network that has not seen it (default: train once)",
    )
    group.add_argument("--evaluate-every", type=int, default=5, help="epochs between scores on val (default: 5)")
    group.add_argument(
        "--stop-after",
        type=int,
        default=0,
        metavar="EPOCHS",
        help="end when the mean IoU of val has not risen for this many epochs, and keep the best epoch (default: train all)",
    )


def _add_machine(p: argparse.ArgumentParser) -> None:
    """Adds the arguments on the device, processes and memory."""
    group = p.add_argument_group("machine")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    group.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's choice)")
    group.add_argument("--workers", type=int, default=0, help="processes that load data (default: none)")
    group.add_argument(
        "--cache-mb", type=int, default=CACHE_MB, help=f"MiB of decoded frames kept in a temporary file (default: {CACHE_MB})"
    )


def _add_results(p: argparse.ArgumentParser) -> None:
    """Adds the arguments on the files that the command writes."""
    group = p.add_argument_group("results")
    group.add_argument(
        "--out", type=Path, default=Path("runs/train"), help="folder for checkpoint, curves and weights (default: runs/train)"
    )
    group.add_argument("--name", default="fcn", help="name of the weights file, without its ending (default: fcn)")
    group.add_argument(
        "--license", default="unstated", help="licence of the weights, written into the file and its card (default: unstated)"
    )
    group.add_argument("--note", action="append", default=[], help="a sentence for the card; can be repeated")
    group.add_argument(
        "--tensorboard", action="store_true", help="also write the curves for TensorBoard; needs fcn-segment[tensorboard]"
    )


def check_arguments(args: argparse.Namespace) -> None:
    """Raises `ValueError` for values that no training can have, before anything is read."""
    if args.evaluate_every < 1 or args.workers < 0 or args.cache_mb < 0:
        values = f"{args.evaluate_every}, {args.workers} and {args.cache_mb}"
        raise ValueError(f"--evaluate-every must be at least 1, --workers and --cache-mb at least 0, got {values}")
    if args.seeds < 1:
        raise ValueError(f"--seeds must be the number of trainings, at least 1, got {args.seeds}")
    if args.seeds > 1 and args.group == EACH:
        raise ValueError("--seeds goes with one training set: name a group in place of --group each, or leave --seeds out")
    if args.stop_after < 0:
        raise ValueError(f"--stop-after must be at least 1, or 0 to train all epochs, got {args.stop_after}")
    name = args.name
    if "/" in name or name in ("", ".", "..") or not name.isprintable() or len(os.fsencode(name)) > LONGEST_NAME:
        raise ValueError(
            f"--name must be a file name of up to {LONGEST_NAME} bytes, got {name[:80]!r}; give the folder as --out"
        )
    if args.data is None and not args.demo:
        raise ValueError("give --data FOLDER, or --demo")
    if args.demo and (args.data or args.labels or args.data_name):
        raise ValueError("--demo trains on generated shapes; leave out --data, --labels and --data-name")
    if args.group_pattern is not None and not (args.group or args.folds):
        raise ValueError("give --group NAME or --folds NUMBER with --group-pattern")
    _check_folds(args)


def _check_folds(args: argparse.Namespace) -> None:
    """Raises `ValueError` for a number of folds that cannot be, and for options that folds do without."""
    if args.folds == 0:
        return
    if args.folds < 2:
        raise ValueError(f"--folds must be at least 2, or 0 to train once, got {args.folds}")
    if args.group or args.seeds > 1:
        raise ValueError("--folds divides all frames of train and val; leave out --group and --seeds")
    if args.stop_after:
        raise ValueError("--stop-after would choose each fold's epoch on the frames that score it; leave it out with --folds")
