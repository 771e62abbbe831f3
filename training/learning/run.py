"""Runs a training from start to end: its parts, its steps and epochs, scores on val, curves and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from common.printable import first_line
from model.networks.fcn import FCN
from model.networks.servable import normalise
from model.preprocessing import Preprocessing
from training.learning import losses
from training.learning.augmentation import AugmentedSplit, combine_seeds
from training.learning.checkpoint import FILE, Progress, load_checkpoint, save_checkpoint
from training.learning.distributed import World
from training.learning.loading import BatchLoader
from training.learning.losses import UNLABELLED, set_of_crop
from training.learning.optimization import Optimization
from training.learning.recipe import CACHE_MB, Recipe
from training.learning.teacher import Teacher
from training.reporting.curves import Curves
from training.scoring.boundaries import without_border
from training.survey.records import Survey

Evaluate = Callable[[FCN], Mapping[str, float | None]]
Save = Callable[[FCN, Progress, bool | None], None]


@dataclass
class Run:
    """One training: the network, the surveyed split that it learns from, and the folder that it writes to.

    evaluate_every: the epochs between scores on val.
    stop_after: the training ends after a scored epoch that comes so many epochs after the best one (0: it does not).
    cache_mb: MiB of frames in temporary files, divided among all processes. The workers of a process share its file.
    origin: what belongs to `identity` and the other fields do not hold, such as the start and the teacher.
    """

    net: FCN
    survey: Survey
    recipe: Recipe
    preprocessing: Preprocessing
    folder: Path
    device: torch.device
    teacher: Teacher | None = None
    evaluate_every: int = 5
    stop_after: int = 0
    workers: int = 0
    cache_mb: int = CACHE_MB
    world: World = field(default_factory=World)
    tensorboard: bool = False
    origin: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint says of its training, which resumes from it only if all is the same."""
        labels = self.survey.split.labels.to_list()
        identity = {"recipe": self.recipe.model_dump(), "frames": self.survey.contents, "labels": labels}
        return identity | dict(self.origin)


@dataclass
class Piece:
    """A part of a step's batch: normalised images (N, 3, H, W), masks (N, H, W), and the teacher's log-probabilities.

    target: of the crops for which `crops` (N,) is true; None without a teacher. where: the cells at which it teaches; None:
    all.
    """

    inputs: Tensor
    masks: Tensor
    target: Tensor | None = None
    crops: Tensor | None = None
    where: Tensor | None = None


class Trainer:
    """Trains the network of a run by its recipe, on this process's share of each batch.

    It resumes from the checkpoint in the run's folder, if there is one. Raises `ValueError` if the checkpoint belongs to
    another training, if processes cannot share the batches, and if shared memory cannot hold what the workers load.

    The cross-entropy is a mean over the labelled pixels of the whole batch, for any number of processes and of `accumulate`
    parts. Batch norm and the Lovász and Dice losses see only one part of one process. On CUDA, batch norm sees
    the parts that all processes run at the same time.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.recipe, self.device, self.world = run, run.recipe, run.device, run.world
        self.preprocessing, self.teacher = run.preprocessing, run.teacher
        torch.manual_seed(self.recipe.seed)
        self.data = AugmentedSplit(run.survey, self.recipe, (run.cache_mb << 20) // self.world.size)
        self.net = run.net.to(self.device).to(memory_format=torch.channels_last)
        self.loader = BatchLoader(self.data, self.recipe, self.world, self.device, run.workers)
        self.optimization = Optimization(self.net, self.recipe, len(self.loader) * self.recipe.epochs, self.device)
        self.parallel = self.world.wrap(self.net, self.device)
        self.class_weights: Tensor | None = None
        if self.recipe.class_weights == "median":
            weights = losses.median_frequency_weights(run.survey.class_pixels.sum(0), self.recipe.class_weights_power)
            self.class_weights = weights.to(self.device)
        split = run.survey.split
        is_labelled = torch.tensor(np.stack([split.labelled(each) for each in split.sets]), device=self.device)
        self.labelled = is_labelled if split.is_partial else None
        self.void_above = torch.tensor(
            [each.void_above if each.void_above < 1 else torch.inf for each in split.sets], device=self.device
        )
        self.identity = run.identity
        self.progress = self._restore()

    def train(self, evaluate: Evaluate | None = None, save: Save | None = None) -> tuple[FCN, Progress]:
        """Trains until the last epoch of the recipe, or as `stop_after` says; gives the network to save and the progress.

        evaluate: gives a network's `mean_iou` on val and further values for the curves, every `evaluate_every` epochs and after
        the last one. save: writes weights after each epoch; gets the network, the progress, and whether the epoch's score is
        the best so far: None for an epoch without a score.
        """
        run, recipe, progress = self.run, self.recipe, self.progress
        run.folder.mkdir(parents=True, exist_ok=True)
        curves = Curves(run.folder, progress.epoch, tensorboard=run.tensorboard) if run.world.first else None
        begin, first = time.monotonic(), progress.epoch
        for epoch in range(first, recipe.epochs):
            if run.world.from_first(partial(progress.lacks_gain, run.stop_after)):
                break
            start = time.monotonic()
            loss, wait_share = self.train_one_epoch(epoch)
            progress.epoch = epoch + 1
            progress.seconds += time.monotonic() - start
            if curves:
                net = self.optimization.result  # once: a `start_share` makes it anew
                is_scored = progress.epoch % run.evaluate_every == 0 or progress.epoch == recipe.epochs
                scores = evaluate(net) if evaluate and is_scored else {"mean_iou": None}
                rate = self.optimization.learning_rate
                curves.add(epoch=progress.epoch, loss=loss, learning_rate=rate, waited=wait_share, **scores)
                score = scores["mean_iou"]
                is_best = None if score is None else progress.take_score(score)
                if save:
                    save(net, progress, is_best)
                save_checkpoint(run.folder, progress, self.optimization.state_dict(), self.identity)
                remaining_seconds = (time.monotonic() - begin) / (progress.epoch - first) * (recipe.epochs - progress.epoch)
                tqdm.write(_line(progress.epoch, recipe.epochs, loss, wait_share, score, remaining_seconds))
            run.world.wait()
        if curves:
            curves.plot()
        return self.optimization.result, progress

    def _restore(self) -> Progress:
        checkpoint = load_checkpoint(self.run.folder, self.identity)
        if checkpoint is None:
            return Progress()
        progress, states = checkpoint
        path = self.run.folder / FILE
        try:
            self.optimization.load_state_dict(states)
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"{path} does not hold the states of this training: {first_line(error)}; remove it to begin again"
            ) from error
        if self.world.first:
            is_done = progress.epoch >= self.recipe.epochs or progress.lacks_gain(self.run.stop_after)
            outlook = "nothing is left to train" if is_done else "the training resumes"
            print(f"{path}: epoch {progress.epoch} of {self.recipe.epochs} is done, {outlook}")
        return progress

    def train_one_epoch(self, epoch: int) -> tuple[float, float]:
        """Trains one epoch; gives the mean loss, and the fraction of the time spent waiting for data."""
        self._train_mode()
        statistics = [buffer.clone() for buffer in self._statistics()]
        title = f"epoch {epoch + 1}/{self.recipe.epochs}"
        bar = tqdm(total=len(self.loader), desc=title, unit="batch", mininterval=2, disable=None if self.world.first else True)
        total, wait_seconds, start = torch.zeros((), device=self.device), 0.0, time.monotonic()
        batches = self.loader.epoch(epoch)
        # seeded after the loader, which draws a random number itself; each process has its own seed, for dropout
        torch.manual_seed(combine_seeds(self.recipe.seed, epoch, self.world.rank))
        for _ in range(len(self.loader)):
            wait_start = time.monotonic()
            images, masks = next(batches)
            wait_seconds += time.monotonic() - wait_start
            loss, is_finite = self._step(images.to(self.device, non_blocking=True), masks.to(self.device, non_blocking=True))
            if not is_finite:
                self.progress.skipped += 1
                self._restore_statistics(statistics)
            self.progress.step += 1
            total += loss
            bar.update()
        bar.close()
        mean = float(self.world.sum(total)) / self.world.size / len(self.loader)
        return mean, wait_seconds / (time.monotonic() - start)

    def _train_mode(self) -> None:
        self.net.train()
        for layer in self.net.modules():
            if isinstance(layer, nn.BatchNorm2d | nn.SyncBatchNorm):
                layer.train(not self.recipe.freeze_batch_norm)

    def _statistics(self) -> list[Tensor]:
        """The running means and variances of batch norm."""
        return [buffer for buffer in self.net.buffers() if buffer.is_floating_point()]

    def _restore_statistics(self, before: Sequence[Tensor]) -> None:
        """After a skipped step: if a running mean or variance is infinite or NaN, sets all of them back to `before`.

        `before` are those from the beginning of the epoch. Most skipped steps leave finite statistics, because float16
        overflows in the gradients and not in the activations.
        """
        if all(bool(torch.isfinite(buffer).all()) for buffer in self._statistics()):
            return
        for buffer, value in zip(self._statistics(), before, strict=True):
            buffer.copy_(value)

    def _step(self, images: Tensor, masks: Tensor) -> tuple[Tensor, bool]:
        """Trains on one batch; gives its loss, and whether its gradient was finite. Else the weights have not changed."""
        if self.recipe.unlabelled_border:
            masks = without_border(masks, self.data.ignore_index, self.recipe.unlabelled_border)
        total = torch.zeros((), device=self.device)
        crops = len(images) * self.world.size if self.recipe.batch_loss == "sum" else 1
        parts = min(self.recipe.accumulate, len(images))
        pairs = zip(images.tensor_split(parts), masks.tensor_split(parts), strict=True)
        pieces = [self._ask_teacher(*pair) for pair in pairs]
        labelled_pixels = torch.stack([(piece.masks != self.data.ignore_index).sum() for piece in pieces]).sum()
        divisor = self.world.sum(labelled_pixels).clamp(min=1) / self.world.size
        for index, piece in enumerate(pieces):
            # processes exchange gradients once a step, in its last part
            local = isinstance(self.parallel, DistributedDataParallel) and index < parts - 1
            with cast(DistributedDataParallel, self.parallel).no_sync() if local else nullcontext():
                loss = self._loss(piece, divisor, len(piece.inputs) / len(images))
                self.optimization.backward(loss * crops)
            total += loss.detach()
        return total, self.optimization.step()

    def _ask_teacher(self, images: Tensor, masks: Tensor) -> Piece:
        """One part of the step's batch, with the teacher's probabilities of its crops, if a loss or a set needs them."""
        inputs = normalise(images, self.preprocessing).contiguous(memory_format=torch.channels_last)
        is_partial = set_of_crop(masks) >= 0
        learns = self.recipe.teacher_weight > 0
        crops = torch.ones_like(is_partial) if learns and self.recipe.teacher_where == "everywhere" else is_partial
        if self.teacher is None or not crops.any():
            return Piece(inputs, masks)
        with self.optimization.autocast():
            target = self.teacher.log_probabilities(inputs[crops])
        piece = Piece(inputs, masks, target, crops)
        if self.recipe.teacher_where == "unlabelled":
            piece.where = masks[crops][:, :: self.teacher.stride, :: self.teacher.stride] >= UNLABELLED
        if self.labelled is not None and is_partial.any():
            log_probabilities = target[is_partial[crops]]
            doubts = (masks[is_partial], log_probabilities, self.data.ignore_index, self.labelled, self.void_above)
            piece.masks = masks.index_put((is_partial,), self.teacher.void_where_sure(*doubts))
        return piece

    def _loss(self, piece: Piece, divisor: Tensor, share: float) -> Tensor:
        """The loss of one part of the step's batch.

        divisor: number of labelled pixels in the batches of all processes, divided by the number of processes, because
        `DistributedDataParallel` averages gradients. share: the part's share of this process's crops.
        """
        recipe, labels = self.recipe, (piece.masks, self.data.ignore_index)
        with self.optimization.autocast():
            logits = self.parallel(piece.inputs)
        loss = recipe.label_weight * losses.cross_entropy(logits, *labels, self.class_weights, divisor, self.labelled)
        if recipe.lovasz_weight:
            loss = loss + recipe.lovasz_weight * share * losses.lovasz_softmax(logits, *labels, self.labelled)
        if recipe.dice_weight:
            loss = loss + recipe.dice_weight * share * losses.soft_dice(logits, *labels, self.labelled)
        if self.teacher and piece.target is not None and piece.crops is not None:
            at_cells = logits[piece.crops][..., :: self.teacher.stride, :: self.teacher.stride]
            share = share * len(at_cells) / len(logits)
            loss = loss + recipe.teacher_weight * share * losses.distillation(at_cells, piece.target, piece.where)
        return loss


def _line(epoch: int, epochs: int, loss: float, wait_share: float, score: float | None, remaining_seconds: float) -> str:
    score_text = "" if score is None else f", val mean IoU {score:.4f}"
    left_text = "" if epoch == epochs else f", about {tqdm.format_interval(remaining_seconds)} left"
    return f"epoch {epoch}/{epochs}: loss {loss:.4f}, {wait_share:.1%} of the time waiting for data{score_text}{left_text}"
