"""The arguments of `fcn-train`. This module needs no PyTorch."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from common.command_line import CommandParser, flag
from training.commands.command import add_option, add_split_options, check_companions
from training.learning.recipe import CACHE_MB, Recipe
from training.survey.folds import PATTERN_HELP

LONGEST_NAME = 200  # bytes, without endings such as .safetensors
FLAGS = ("variant", "backbone", "output_stride", "epochs", "batch", "learning_rate", "class_weights", "autocast", "seed")
"""Values of the recipe with an option of their own."""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = CommandParser("fcn-train", description="Trains an FCN and writes its weights file and model card.")
    group = p.add_argument_group("data")
    add_option(group, "--data", Path, "folder of labelled images: images/ and masks/, a VOCdevkit, or CamVid")
    group.add_argument("--demo", action="store_true", help="train a tiny network on generated shapes, in a minute or two")
    add_split_options(group)
    add_option(group, "--score-map", str, "score on fewer classes than the trained ones; written as --class-map")
    add_option(group, "--data-name", "", "name of the data set in the card (default: its folder's name)")

    group = p.add_argument_group("recipe and start")
    starts = "weights to begin with: none, imagenet (torchvision's), a file, or a name in weights/ (default: none)"
    add_option(group, "--start", "none", starts)
    teacher = "weights file of a network whose probabilities the new one also learns; needs --set teacher_weight=NUMBER"
    add_option(group, "--teacher", Path, teacher)
    add_option(group, "--recipe", Path, "TOML file of hyperparameters; --set and options such as --epochs override it")
    changes = "set a value of the recipe, as in TOML; can be repeated"
    group.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=changes)
    for name in FLAGS:
        add_option(group, flag(name), type(Recipe.model_fields[name].default), f"{name} in place of the recipe's")

    group = p.add_argument_group("trainings and scores")
    seeds = "train N times with different seeds; prints mean and deviation of the scores (default: 1)"
    add_option(group, "--seeds", 1, seeds, metavar="N")
    folds = (
        "divide the frames of train and val into K folds, train K times without one of them, and score each frame by the "
        "network that has not seen it (default: train once)"
    )
    add_option(group, "--folds", 0, folds, metavar="K")
    add_option(group, "--group-pattern", str, f"with --folds, frames of one group stay in one fold: {PATTERN_HELP}")
    add_option(group, "--evaluate-every", 5, "epochs between scores on val (default: 5)")
    stop = "end when the mean IoU of val has not risen for this many epochs, and keep the best epoch (default: train all)"
    add_option(group, "--stop-after", 0, stop, metavar="EPOCHS")

    group = p.add_argument_group("machine")
    add_option(group, "--device", "auto", "auto, cpu, cuda, cuda:N or mps (default: auto)")
    add_option(group, "--threads", 0, "CPU threads (default: torch's choice)")
    add_option(group, "--workers", 0, "processes that load data (default: none)")
    add_option(group, "--cache-mb", CACHE_MB, f"MiB of decoded frames kept in a temporary file (default: {CACHE_MB})")

    group = p.add_argument_group("results")
    add_option(group, "--out", Path("runs/train"), "folder for checkpoint, curves and weights (default: runs/train)")
    add_option(group, "--name", "fcn", "name of the weights file, without its ending (default: fcn)")
    add_option(group, "--license", "unstated", "licence of the weights, written into file and card (default: unstated)")
    group.add_argument("--note", action="append", default=[], help="a sentence for the card; can be repeated")
    tensorboard = "also write the curves for TensorBoard; needs fcn-segment[tensorboard]"
    group.add_argument("--tensorboard", action="store_true", help=tensorboard)
    return p


def check_arguments(args: argparse.Namespace) -> None:
    """Raises `ValueError` for values that no training can have, before anything is read."""
    least = {"evaluate_every": 1, "seeds": 1, "workers": 0, "cache_mb": 0, "stop_after": 0}
    for name, number in least.items():
        if getattr(args, name) < number:
            raise ValueError(f"{flag(name)} must be at least {number}, got {getattr(args, name)}")
    name = args.name
    if "/" in name or name in ("", ".", "..") or not name.isprintable() or len(os.fsencode(name)) > LONGEST_NAME:
        raise ValueError(
            f"--name must be a file name of up to {LONGEST_NAME} bytes, got {name[:80]!r}; give the folder as --out"
        )
    if args.data is None and not args.demo:
        raise ValueError("give --data FOLDER, or --demo")
    if args.demo and (args.data or args.labels or args.data_name):
        raise ValueError("--demo trains on generated shapes; leave out --data, --labels and --data-name")
    if args.folds < 0 or args.folds == 1:
        raise ValueError(f"--folds must be at least 2, or 0 to train once, got {args.folds}")
    check_companions(args, {"group_pattern": "folds"})
    if args.folds and args.seeds > 1:
        raise ValueError("--folds divides all frames of train and val; leave out --seeds")
    if args.folds and args.stop_after:
        raise ValueError("--stop-after would choose each fold's epoch on the frames that score it; leave it out with --folds")
