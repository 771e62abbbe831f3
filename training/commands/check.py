"""`fcn-check`: tells what is wrong with a folder of labelled images, what it holds, and how a training would see it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from common.command_line import CommandParser, install_command
from common.whole_file import begins_with, check_output
from model.labels import LabelSet
from training.commands.check_report import START, DataReport, Picture, write_report
from training.commands.command import add_split_options, print_lines, run_command
from training.data.class_mapping import parse_class_mapping
from training.data.label_files import find_labels
from training.data.problems import DataError, collecting
from training.data.split import Split, get_split
from training.learning.recipe import make_recipe, parse_changes
from training.survey.inspection import pair_errors, pair_notes
from training.survey.records import survey_readable
from training.survey.sides import side_notes

RECIPE = Path(__file__).parents[1] / "recipes" / "finetune.toml"
FRAMES, WORST = 48, 20


def parser() -> argparse.ArgumentParser:
    p = CommandParser("fcn-check", description="Checks a folder of labelled images, as fcn-train does before it trains.")
    data = "folder of labelled images: images/ and masks/, a VOCdevkit, or CamVid"
    p.add_argument("data", type=Path, metavar="DATA", help=data)
    add_split_options(p)
    p.add_argument("--recipe", type=Path, default=RECIPE, help="recipe for the plan and the crops (default: finetune.toml)")
    p.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="set a value of the recipe, as in TOML")
    p.add_argument("--start", help="weights that the training begins with, for the plan (default: none)")
    p.add_argument("--device", default="auto", help="device of the training, for the plan: auto, cpu, cuda (default: auto)")
    weights = (
        "also list the frames whose labels a network disagrees with most: a weights file, a name in weights/, or "
        "NAME-folds.json of fcn-train --folds, whose networks have not seen the frames that they judge"
    )
    p.add_argument("--weights", metavar="FILE", help=weights)
    p.add_argument("--worst", type=int, help=f"how many frames --weights lists (default: {WORST})")
    p.add_argument("--report", type=Path, metavar="FILE.html", help="also write a page with pictures of labels and crops")
    p.add_argument("--frames", type=int, default=FRAMES, help=f"frames a split after those of remarks (default: {FRAMES})")
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_command("fcn-check", lambda: _check(args))


def _check(args: argparse.Namespace) -> None:
    """Prints the report; raises `DataError` at its end if a training would stop."""
    if args.frames < 1:
        raise ValueError(f"--frames must be at least 1, got {args.frames}")
    if args.worst is not None and (args.weights is None or args.worst < 1):
        raise ValueError(f"--worst must be at least 1, and goes with --weights FILE; got {args.worst}")
    if args.report:
        check_output(args.report, begins_with(re.escape(START.encode())))
    has_torch = find_spec("torch") is not None
    names: list[str] = []
    if args.weights:
        if not has_torch:
            raise ValueError(f"--weights needs PyTorch: {install_command('train')}")
        from training.commands.check_network import find_networks, label_lines

        networks = find_networks(args.weights)
        names = networks.segmenter(0).manifest.labels.names if args.class_map else []
    recipe = make_recipe(args.recipe, parse_changes(args.set))
    labels = find_labels(args.labels, args.data)
    report = check_data(args, labels, names)
    if report.surveys:
        sides = side_notes(report.surveys[0].split.labels.names, recipe.model_dump())
        report = replace(report, notes=[*report.notes, *sides])
    lines = report.lines()
    crops: Iterable[Picture] = ()
    train = next((survey for survey in report.surveys if survey.split.name == args.train_split), None)
    plan_text: list[str] = []
    if not has_torch:
        plan_text = [f"the plan of a training and its crops are left out, as PyTorch is missing: {install_command('train')}"]
    elif train and train.records:
        from model.networks.device import choose_device
        from training.commands.check_network import crop_pictures
        from training.learning.plan import plan_training, plan_without_start
        from training.learning.starts import read_start

        device = choose_device(args.device)
        start = read_start(args.start) if args.start else None
        plan = plan_training(recipe, train, start, device) if start else plan_without_start(recipe, train, device)
        recipe, plan_text = plan
        crops = crop_pictures(train, recipe)
    print_lines([*lines, *plan_text])
    doubts = label_lines(networks, report.surveys, args.worst or WORST) if args.weights else []
    print_lines(doubts)
    if args.report:
        write_report(args.report, replace(report, notes=[*report.notes, *doubts], plan=plan_text), args.frames, crops)
        print(f"wrote {args.report}")
    if report.errors:
        raise DataError(f"{len(report.errors)} errors; a training would stop")


def check_data(args: argparse.Namespace, labels: LabelSet, network: Sequence[str]) -> DataReport:
    """Opens and surveys both splits; what cannot be opened or read becomes an error.

    network: names of classes that `--class-map` may name, too.
    """
    mapping = parse_class_mapping(args.class_map, labels, network) if args.class_map else None
    splits: list[Split] = []
    errors: list[DataError] = []
    for name in (args.train_split, args.val_split):
        with collecting(errors):
            splits.append(get_split(args.data, name, labels, mapping, args.masks, args.masks_orientation))
    surveys, unreadable = survey_readable(splits, details=True)
    errors = list({str(error): error for error in (*errors, *unreadable)}.values())
    notes: list[str] = []
    if len(surveys) == 2:
        errors += pair_errors(*surveys)
        notes = pair_notes(*surveys)
    gaps = [
        replace(split, frames=(*(frame for frame in split.frames if frame not in survey.split.frames), *split.incomplete))
        for split, survey in zip(splits, surveys, strict=True)
    ]
    return DataReport(args.data.resolve().name, surveys, errors, notes, unreadable=gaps)
