"""The arguments of `fcn-check`. This module needs no PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path

from model.command_line import CommandParser
from training.commands.mask_arguments import add_split_arguments

RECIPE = Path(__file__).parents[1] / "recipes" / "finetune.toml"
FRAMES, WORST = 48, 20


def parser() -> argparse.ArgumentParser:
    p = CommandParser("fcn-check", description="Checks a folder of labelled images, as fcn-train does before it trains.")
    p.add_argument(
        "data", type=Path, metavar="DATA", help="folder of labelled images: images/ and masks/, a VOCdevkit, or CamVid"
    )
    add_split_arguments(p)
    p.add_argument("--recipe", type=Path, default=RECIPE, help="recipe for the plan and the crops (default: finetune.toml)")
    p.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="set a value of the recipe, as in TOML")
    p.add_argument("--start", default="none", help="weights that the training begins with, for the plan (default: none)")
    p.add_argument("--device", default="auto", help="device of the training, for the plan: auto, cpu, cuda (default: auto)")
    p.add_argument(
        "--weights",
        metavar="FILE",
        help="also list the frames whose labels a network disagrees with most: a weights file, a name in weights/, or "
        "NAME-folds.json of fcn-train --folds, whose networks have not seen the frames that they judge",
    )
    p.add_argument("--worst", type=int, help=f"how many frames --weights lists (default: {WORST})")
    p.add_argument("--report", type=Path, metavar="FILE.html", help="also write a page with pictures of labels and crops")
    p.add_argument("--frames", type=int, default=FRAMES, help=f"frames of each split on the page (default: {FRAMES})")
    return p
