"""The training loop: epochs of augmented batches, a poly schedule, averaged weights, checkpoints and curves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from model.fcn import FCN
from model.preprocessing import Preprocessing
from training.augmentation import AugmentedSplit
from training.checkpoint import Progress, load_checkpoint, save_checkpoint
from training.curves import Curves
from training.datasets import Split
from training.losses import cross_entropy, distillation, lovasz_softmax, median_frequency_weights
from training.recipe import Recipe
from training.teacher import Teacher

Evaluate = Callable[[FCN], float]


@dataclass
class Run:
    """One training: the network, what it learns from, and where it writes.

    evaluate: gives the val mean IoU of a network, called every `evaluate_every` epochs and after the last.
    """

    net: FCN
    split: Split
    recipe: Recipe
    preprocessing: Preprocessing
    folder: Path
    device: torch.device
    teacher: Teacher | None = None
    evaluate: Evaluate | None = None
    evaluate_every: int = 5
    workers: int = 0


def train(run: Run) -> tuple[FCN, Progress]:
    """Trains to the recipe's end, going on from the folder's checkpoint; gives the network to save and the progress."""
    recipe = run.recipe
    torch.manual_seed(recipe.seed)
    trainer = _Trainer(run)
    progress = trainer.restore()
    curves = Curves(run.folder, progress.epoch)
    for epoch in range(progress.epoch, recipe.epochs):
        started = time.monotonic()
        loss, waited = trainer.train_one_epoch(epoch, progress)
        progress.epoch = epoch + 1
        progress.seconds += time.monotonic() - started
        score = _evaluate(run, trainer.result, progress.epoch)
        curves.add(epoch=progress.epoch, loss=loss, learning_rate=trainer.learning_rate, waited=waited, mean_iou=score)
        trainer.save(progress)
    curves.plot()
    return trainer.result, progress


def _evaluate(run: Run, net: FCN, epoch: int) -> float | None:
    due = epoch % run.evaluate_every == 0 or epoch == run.recipe.epochs
    return run.evaluate(net) if run.evaluate and due else None


class _Trainer:
    """Network, optimiser, schedule and averaged weights of one run."""

    def __init__(self, run: Run) -> None:
        recipe = run.recipe
        self.run = run
        self.net = run.net.to(run.device).to(memory_format=torch.channels_last)
        self.data = AugmentedSplit(run.split, recipe)
        self.batches = max(1, len(self.data) // recipe.batch)
        self.optimizer = torch.optim.AdamW(_parameter_groups(self.net, recipe), weight_decay=recipe.weight_decay)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._schedule)
        self.average = _average(self.net, recipe.ema) if recipe.ema else None
        self.weights: Tensor | None = None
        if recipe.class_weights == "median":
            self.weights = median_frequency_weights(run.split, recipe.class_weights_power).to(run.device)

    @property
    def result(self) -> FCN:
        """The averaged network where one is kept, else the trained one."""
        return cast(FCN, self.average.module) if self.average else self.net

    @property
    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _schedule(self, step: int) -> float:
        steps = max(1, self.batches * self.run.recipe.epochs)
        warmup = min(1.0, (step + 1) / max(1, self.run.recipe.warmup))
        return float(warmup * max(0.0, 1 - step / steps) ** self.run.recipe.power)

    def train_one_epoch(self, epoch: int, progress: Progress) -> tuple[float, float]:
        """Mean loss, and the fraction of the time spent waiting for data."""
        self._train_mode()
        torch.manual_seed(self.run.recipe.seed * 1_000_003 + epoch)
        bar = tqdm(total=self.batches, desc=f"epoch {epoch + 1}/{self.run.recipe.epochs}", unit="batch", mininterval=2)
        total, waited, started = 0.0, 0.0, time.monotonic()
        loader = iter(self._loader(epoch))
        for _ in range(self.batches):
            asked = time.monotonic()
            images, masks = next(loader)
            waited += time.monotonic() - asked
            total += self._step(images.to(self.run.device), masks.to(self.run.device), progress)
            bar.update()
            bar.set_postfix(loss=f"{total / bar.n:.3f}")
        bar.close()
        return total / self.batches, waited / (time.monotonic() - started)

    def _loader(self, epoch: int) -> DataLoader[tuple[Tensor, Tensor]]:
        self.data.set_epoch(epoch)
        order = torch.Generator().manual_seed(self.run.recipe.seed * 1_000_003 + epoch)
        few = len(self.data) < self.run.recipe.batch
        return DataLoader(
            self.data, self.run.recipe.batch, shuffle=True, drop_last=not few, generator=order, num_workers=self.run.workers
        )

    def _train_mode(self) -> None:
        self.net.train()
        if self.run.recipe.freeze_batch_norm:
            for layer in self.net.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()

    def _step(self, images: Tensor, masks: Tensor, progress: Progress) -> float:
        recipe, device = self.run.recipe, self.run.device
        inputs = self.run.preprocessing.normalise(images, torch.float32).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.autocast == "bfloat16"):
            logits = self.net(inputs)
            target = self.run.teacher.log_probabilities(inputs) if self.run.teacher else None
        loss = recipe.label_weight * cross_entropy(logits, masks, self.data.ignore_index, self.weights)
        if recipe.lovasz_weight:
            loss = loss + recipe.lovasz_weight * lovasz_softmax(logits, masks, self.data.ignore_index)
        if self.run.teacher and target is not None:
            stride = self.run.teacher.stride
            loss = loss + recipe.teacher_weight * distillation(logits[..., ::stride, ::stride], target)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), recipe.clip_norm)
        # bfloat16 gives an infinite gradient once in some hundred steps
        if torch.isfinite(norm):
            self.optimizer.step()
        else:
            progress.skipped += 1
        self.scheduler.step()
        progress.step += 1
        if self.average:
            self.average.update_parameters(self.net)
        return float(loss.detach())

    def save(self, progress: Progress) -> None:
        states: dict[str, Any] = {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
        }
        if self.average:
            states["average"] = self.average.state_dict()
        save_checkpoint(self.run.folder, progress, states, self._identity())

    def restore(self) -> Progress:
        self.run.folder.mkdir(parents=True, exist_ok=True)
        found = load_checkpoint(self.run.folder, self._identity())
        if found is None:
            return Progress()
        progress, states = found
        self.net.load_state_dict(states["net"])
        self.optimizer.load_state_dict(states["optimizer"])
        self.scheduler.load_state_dict(states["scheduler"])
        if self.average:
            self.average.load_state_dict(states["average"])
        return progress

    def _identity(self) -> dict[str, Any]:
        return {"recipe": self.run.recipe.to_dict(), "frames": self.run.split.digest}


def _average(net: FCN, decay: float) -> AveragedModel:
    update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(net, multi_avg_fn=update, use_buffers=True)


def _parameter_groups(net: FCN, recipe: Recipe) -> list[dict[str, Any]]:
    """Backbone and the rest, at their own rates; no decay on biases and batch norms."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("backbone."), parameter.ndim > 1), []).append(parameter)
    rate = recipe.learning_rate
    return [
        {
            "params": parameters,
            "lr": rate if in_backbone else rate * recipe.head_factor,
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (in_backbone, decays), parameters in groups.items()
    ]
