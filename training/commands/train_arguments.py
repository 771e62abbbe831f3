"""The arguments of `fcn-train`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from model.command_line import ArgumentGroup, CommandParser
from training.commands.mask_arguments import add_split_arguments
from training.learning.recipe import CACHE_MB
from training.survey.folds import EACH, PATTERN_HELP

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
    group = p.add_argument_group("data")
    _add(group, "--data", Path, "folder of labelled images: images/ and masks/, a VOCdevkit, or CamVid")
    group.add_argument("--demo", action="store_true", help="train a tiny network on generated shapes, in a minute or two")
    add_split_arguments(group)
    _add(group, "--score-map", str, "score on fewer classes than the trained ones; written as --class-map")
    _add(
        group, "--group", str, "train on the other groups of the train split, and score on this one; each: every group in turn"
    )
    _add(group, "--group-pattern", str, f"{PATTERN_HELP}; with --folds, frames of one group stay in one fold")
    _add(group, "--data-name", "", "name of the data set in the card (default: its folder's name)")

    group = p.add_argument_group("recipe and start")
    starts = "weights to begin with: none, imagenet (torchvision's), a file, or a name in weights/ (default: none)"
    _add(group, "--start", "none", starts)
    teacher = "weights file of a network whose probabilities the new one also learns; needs --set teacher_weight=NUMBER"
    _add(group, "--teacher", Path, teacher)
    _add(group, "--recipe", Path, "TOML file of hyperparameters; --set and options such as --epochs override it")
    changes = "set a value of the recipe, as in TOML; can be repeated"
    group.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=changes)
    for name, kind in FLAGS.items():
        _add(group, f"--{name.replace('_', '-')}", kind, f"{name} in place of the recipe's")

    group = p.add_argument_group("trainings and scores")
    seeds = "train N times with different seeds; prints mean and deviation of the scores (default: 1)"
    _add(group, "--seeds", 1, seeds, metavar="N")
    folds = (
        "divide the frames of train and val into K folds, train K times without one of them, and score each frame by the "
        "network that has not seen it (default: train once)"
    )
    _add(group, "--folds", 0, folds, metavar="K")
    _add(group, "--evaluate-every", 5, "epochs between scores on val (default: 5)")
    stop = "end when the mean IoU of val has not risen for this many epochs, and keep the best epoch (default: train all)"
    _add(group, "--stop-after", 0, stop, metavar="EPOCHS")

    group = p.add_argument_group("machine")
    _add(group, "--device", "auto", "auto, cpu, cuda, cuda:N or mps (default: auto)")
    _add(group, "--threads", 0, "CPU threads (default: torch's choice)")
    _add(group, "--workers", 0, "processes that load data (default: none)")
    _add(group, "--cache-mb", CACHE_MB, f"MiB of decoded frames kept in a temporary file (default: {CACHE_MB})")

    group = p.add_argument_group("results")
    _add(group, "--out", Path("runs/train"), "folder for checkpoint, curves and weights (default: runs/train)")
    _add(group, "--name", "fcn", "name of the weights file, without its ending (default: fcn)")
    _add(group, "--license", "unstated", "licence of the weights, written into the file and its card (default: unstated)")
    group.add_argument("--note", action="append", default=[], help="a sentence for the card; can be repeated")
    tensorboard = "also write the curves for TensorBoard; needs fcn-segment[tensorboard]"
    group.add_argument("--tensorboard", action="store_true", help=tensorboard)
    return p


def _add(group: ArgumentGroup, flag: str, default: Any, text: str, metavar: str | None = None) -> None:
    """Adds an option with a value. default: its default, whose type is the value's, or a type for an option without one."""
    kind, value = (default, None) if isinstance(default, type) else (type(default), default)
    group.add_argument(flag, type=Path if issubclass(kind, Path) else kind, default=value, help=text, metavar=metavar)


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
    if args.folds < 0 or args.folds == 1:
        raise ValueError(f"--folds must be at least 2, or 0 to train once, got {args.folds}")
    if args.folds and (args.group or args.seeds > 1):
        raise ValueError("--folds divides all frames of train and val; leave out --group and --seeds")
    if args.folds and args.stop_after:
        raise ValueError("--stop-after would choose each fold's epoch on the frames that score it; leave it out with --folds")
