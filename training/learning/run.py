"""Runs a training from start to end: epochs, scores on val, curves and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from tqdm import tqdm

from model.networks.fcn import FCN
from training.learning.augmentation import AugmentedSplit
from training.learning.checkpoint import FILE, Progress, first_line, load_checkpoint, save_checkpoint
from training.learning.trainer import Run, Trainer
from training.reporting.curves import Curves


def train(run: Run) -> tuple[FCN, Progress]:
    """Trains until the last epoch of the recipe, or as `stop_after` says; gives the network to save and the progress.

    Resumes from the checkpoint in the folder, if there is one; raises `ValueError` if it belongs to another training.
    """
    recipe = run.recipe
    run.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    data = AugmentedSplit(run.survey, recipe, (run.cache_mb << 20) // run.world.size)
    trainer = Trainer(run, data)
    resume_facts = run.resume_facts
    progress = _restore(run, trainer, resume_facts)
    curves = Curves(run.folder, progress.epoch, tensorboard=run.tensorboard) if run.world.first else None
    begin, first = time.monotonic(), progress.epoch
    for epoch in range(first, recipe.epochs):
        if run.world.from_first(partial(progress.lacks_gain, run.stop_after)):
            break
        start = time.monotonic()
        loss, wait_share = trainer.train_one_epoch(epoch, progress)
        progress.epoch = epoch + 1
        progress.seconds += time.monotonic() - start
        if curves:
            scores = _evaluate(run, trainer.result, progress.epoch)
            rate = trainer.optimization.learning_rate
            curves.add(epoch=progress.epoch, loss=loss, learning_rate=rate, waited=wait_share, **scores)
            if (score := scores["mean_iou"]) is not None:
                is_best = progress.take_score(score)
                if run.save:
                    run.save(trainer.result, progress, is_best)
            manifest = run.manifest(progress).to_json() if run.manifest else ""
            save_checkpoint(run.folder, progress, trainer.states(), resume_facts, manifest)
            remaining_seconds = (time.monotonic() - begin) / (progress.epoch - first) * (recipe.epochs - progress.epoch)
            tqdm.write(_line(progress.epoch, recipe.epochs, loss, wait_share, scores["mean_iou"], remaining_seconds))
        run.world.wait()
    if curves:
        curves.plot()
    return trainer.result, progress


def _restore(run: Run, trainer: Trainer, resume_facts: dict[str, Any]) -> Progress:
    checkpoint = load_checkpoint(run.folder, resume_facts)
    if checkpoint is None:
        return Progress()
    progress, states = checkpoint
    try:
        trainer.restore(states)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{run.folder / FILE} does not hold the states of this training: {first_line(error)}; remove it to begin again"
        ) from error
    if run.world.first:
        is_done = progress.epoch >= run.recipe.epochs or progress.lacks_gain(run.stop_after)
        outlook = "nothing is left to train" if is_done else "the training resumes"
        print(f"{run.folder / FILE}: epoch {progress.epoch} of {run.recipe.epochs} is done, {outlook}")
    return progress


def _evaluate(run: Run, net: FCN, epoch: int) -> Mapping[str, float | None]:
    """The scores of an epoch; only None for an epoch that is not scored."""
    is_scored = epoch % run.evaluate_every == 0 or epoch == run.recipe.epochs
    return run.evaluate(net) if run.evaluate and is_scored else {"mean_iou": None}


def _line(epoch: int, epochs: int, loss: float, wait_share: float, score: float | None, remaining_seconds: float) -> str:
    score_text = "" if score is None else f", val mean IoU {score:.4f}"
    left_text = "" if epoch == epochs else f", about {tqdm.format_interval(remaining_seconds)} left"
    return f"epoch {epoch}/{epochs}: loss {loss:.4f}, {wait_share:.1%} of the time waiting for data{score_text}{left_text}"
