"""`fcn-train`: trains a network on a folder of labelled images; writes a weights file and its model card."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from common.whole_file import begins_with, check_output, copy_file, whole_file
from model.manifest import Manifest
from model.networks.device import choose_device, dtype_name
from model.networks.fcn import FCN
from model.networks.servable import load_network
from model.weights_file import load_weights
from training.commands.command import print_lines, run_command
from training.commands.train_arguments import FLAGS, check_arguments, parser
from training.commands.train_repeat import repeat
from training.commands.train_setup import TrainingData, make_run, score_mapping, start_network, survey_splits
from training.commands.train_weights import TrainingWeights, export_weights, last_scores, save_result
from training.data.demo import demo_photo, write_demo_data
from training.learning.checkpoint import FILE as CHECKPOINT
from training.learning.checkpoint import Progress, saved_recipe
from training.learning.distributed import World, join
from training.learning.optimization import forward_dtype
from training.learning.plan import plan_training
from training.learning.recipe import Recipe, make_recipe, parse_changes
from training.learning.run import Run, Trainer
from training.learning.starts import Start, read_start
from training.learning.validation import Scorer, score_start
from training.publishing.card import write_card
from training.publishing.card_sections import CARD
from training.reporting.curves import require_matplotlib, require_tensorboard
from training.reporting.machine import commit, machine, set_threads
from training.scoring.evaluate import table
from training.scoring.intervals import interval_line, trust_lines
from training.survey.records import FILE as SURVEY
from training.survey.sides import side_notes

DEMO_RECIPE = Path(__file__).parents[1] / "recipes" / "demo.toml"


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(arguments)

    def stop_message() -> str:
        # each seed and fold has a folder of its own
        has_checkpoint = any(args.out.rglob(CHECKPOINT))
        outlook = "resumes after the last finished epoch" if has_checkpoint else "begins again, since no epoch was finished"
        weights = sorted(str(path) for kind in ("last", "best") for path in args.out.rglob(f"{args.name}-{kind}.safetensors"))
        weights_so_far = f"; weights so far: {', '.join(weights)}" if weights else ""
        return f"stopped; the same command {outlook} ({args.out}){weights_so_far}"

    return run_command("fcn-train", lambda: _train(args, arguments), stop_message)


def _train(args: argparse.Namespace, arguments: list[str]) -> None:
    set_threads(args.threads)
    check_arguments(args)
    require_matplotlib()
    check_output(args.out / CHECKPOINT)
    check_output(args.out / f"{args.name}.md", begins_with(CARD))
    if args.tensorboard:
        require_tensorboard()
    with _demo_data(args) if args.demo else nullcontext(), join(choose_device(args.device)) as (world, device):
        train_once = partial(_train_once, arguments=arguments, world=world, device=device, start=read_start(args.start))
        if args.folds or args.seeds > 1:
            repeat(args, world, train_once, _stated_recipe(args).seed)
        else:
            train_once(args, world.from_first(lambda: survey_splits(args, args.out / SURVEY)))


@contextmanager
def _demo_data(args: argparse.Namespace) -> Iterator[None]:
    """Writes generated shapes into a temporary folder, and sets the arguments to train on them.

    The recipe is the demo's unless `--recipe` names another. After the training, a photo to try the network on is in `--out`.
    """
    with tempfile.TemporaryDirectory() as folder:
        args.data = Path(folder)
        args.recipe = args.recipe or DEMO_RECIPE
        args.labels = str(write_demo_data(args.data))
        args.data_name = "generated shapes"
        yield
        with whole_file(args.out / "shapes.jpg", follow=False) as partial_file:
            demo_photo().save(partial_file, "JPEG", quality=92)


def _stated_recipe(args: argparse.Namespace) -> Recipe:
    """The recipe of the command's file and options, before it follows the data."""
    flags = {name: value for name in FLAGS if (value := getattr(args, name)) is not None}
    return make_recipe(args.recipe, parse_changes(args.set) | flags)


def _train_once(
    args: argparse.Namespace, data: TrainingData, *, arguments: list[str], world: World, device: torch.device, start: Start
) -> TrainingWeights | None:
    """Runs one training and writes its files; gives them with the final score, or None in all processes but the first."""
    stated_recipe = _stated_recipe(args)
    recipe, lines = world.from_first(lambda: plan_training(stated_recipe, data.train, start, device, saved_recipe(args.out)))
    split, validation = data.train.split, data.validation.split
    if world.first and (lines := [*lines, *side_notes(split.labels.names, recipe.model_dump())]):
        print_lines(lines)
    run = make_run(args, recipe, data, start, device, world)
    trainer = Trainer(run)
    manifest = Manifest(run.net.architecture, split.labels, run.preprocessing, args.license)
    scorer = Scorer(manifest, validation, score_mapping(args, split.labels), str(device))
    start_score = score_start(start, recipe.start_rows, scorer) if world.first else None
    if start_score:
        print(start_score.line())
    folder = args.data.resolve().name
    launcher = f"torchrun --nproc-per-node {world.size} -m training.commands.train" if world.size > 1 else "fcn-train"
    training = {  # for the card
        "data": args.data_name or f"folder {folder} (not named)",
        "splits": {each.name: {"frames": len(each.frames), "sha256": each.digest} for each in (split, validation)},
        "start": Path(args.start).name,
        "recipe": recipe.model_dump(),
        "seed": recipe.seed,
        "machine": machine(),
        "precision": dtype_name(forward_dtype(recipe, device)),
        "torch": torch.__version__,
        "commit": commit(),
        "command": f"{launcher} {shlex.join(arguments)}",
        "notes": args.note,
    } | ({"start_score": start_score.to_dict()} if start_score else {})
    manifest = replace(manifest, training=training)
    weights = TrainingWeights(args.out, args.name, manifest, scorer, args.data_name or folder, start_score)
    if world.first:
        weights.remove_earlier()
    net, progress = trainer.train(scorer, weights.save)
    if not world.first:
        return None
    _finish(args, net, progress, weights, run, start)
    return weights


def _finish(args: argparse.Namespace, net: FCN, progress: Progress, weights: TrainingWeights, run: Run, start: Start) -> None:
    """Writes the weights file, curves, card and export, with the score on val, and compares it with the start's.

    The network is that of the last epoch, or with `--stop-after` that of the best one. It is the start itself, cut to the
    data's classes, if the start knows all of them and scores more than the training.
    """
    scorer, manifest = weights.scorer, weights.manifest_at(progress)
    is_last = progress.best_epoch in (0, progress.epoch)
    best_path = weights.path("-best")
    if args.stop_after and not is_last and best_path.is_file():
        best = load_weights(best_path)
        net, manifest = load_network(best), best.manifest
        scorer(net)
        print(f"epoch {progress.best_epoch} of {progress.epoch} was the best; its weights are kept")
    elif not is_last:
        print(f"epoch {progress.best_epoch} had a higher mean IoU, {progress.best_score:.4f}: {best_path}")
    if not len(scorer.counts):  # no epoch was left to train
        scorer(net)
    path = weights.path()
    lines = save_result(
        net, manifest, weights, partial(start_network, run.recipe, start, len(manifest.labels), manifest.fcn.bands)
    )
    copy_file(args.out / "curves.csv", path.with_suffix(".curves.csv"))
    write_card(path)
    (entry,) = last_scores(scorer, weights.data_name).values()
    trust = [interval_line(entry)] if args.folds else trust_lines(entry)
    score_lines = table(scorer.matrix, scorer.names).split("\n")
    print_lines([*score_lines, *trust, *lines, f"wrote {path} and {path.with_suffix('.md')}"])
    export_weights(path)


if __name__ == "__main__":
    sys.exit(main())
