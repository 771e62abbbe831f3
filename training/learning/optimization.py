"""Optimiser, learning-rate schedule, gradient scaling and averaged weights, as the recipe sets them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from model.networks.device import choose_dtype
from model.networks.fcn import FCN
from training.learning.recipe import Recipe

Parts = tuple[Tensor, ...] | list[Tensor]


def forward_dtype(recipe: Recipe, device: torch.device) -> torch.dtype:
    """The dtype of the forward pass, as the recipe's `autocast` says it for this device."""
    return choose_dtype("float32" if recipe.autocast == "none" else recipe.autocast, device)


class Optimization:
    """Updates a network's weights from its gradients.

    A step whose gradient is not finite changes neither the weights nor their average. With float16 such steps are normal:
    they are how the gradient scaler finds its scale.
    """

    def __init__(self, net: FCN, recipe: Recipe, steps: int, device: torch.device) -> None:
        self.recipe, self.steps, self.device, self.net = recipe, max(1, steps), device, net
        groups = _parameter_groups(net, recipe)
        if recipe.optimizer == "sgd":
            self.optimizer: torch.optim.Optimizer = torch.optim.SGD(groups, momentum=recipe.momentum)
        else:
            self.optimizer = torch.optim.AdamW(groups)
        self.scheduler = LambdaLR(self.optimizer, self._schedule)
        self.dtype = forward_dtype(recipe, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self.average = _average(net, recipe.ema) if recipe.ema else None
        self.start = copy.deepcopy(net) if recipe.start_share else None
        self._parts: dict[str, Any] = {
            "net": net,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "scaler": self.scaler,
        } | ({"average": self.average} if self.average else {})

    @property
    def learning_rate(self) -> float:
        """The current learning rate of the first parameter group: the backbone, if it learns."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def result(self) -> FCN:
        """The network to score and save: of averaged weights if the recipe sets `ema`, and with its `start_share`."""
        net = cast(FCN, self.average.module) if self.average else self.net
        return _mixed(net, self.start, self.recipe.start_share) if self.start else net

    def autocast(self) -> torch.autocast:
        """The precision of the forward pass."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(self) -> bool:
        """Applies the gradients accumulated since the last step and clears them; False if they were not finite."""
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip_norm)
        finite = bool(torch.isfinite(norm))
        if finite:
            self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average and finite:
            self.average.update_parameters(self.net)
        return finite

    def state_dict(self) -> dict[str, Any]:
        """The states of the network and its optimisation, for a checkpoint."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, states: Mapping[str, Any]) -> None:
        """Restores the states that `state_dict` gave; raises what torch raises for others."""
        for name, part in self._parts.items():
            part.load_state_dict(states[name])
        for group, rate in zip(self.optimizer.param_groups, self.scheduler.base_lrs, strict=True):
            # the number of steps may have grown, so the rate comes from the schedule and not from the saved state
            group["lr"] = rate * self._schedule(self.scheduler.last_epoch)

    def _schedule(self, step: int) -> float:
        return _rate(self.recipe, step, self.steps)


def warmup_warning(recipe: Recipe, steps: int) -> str | None:
    """A line that says so if the learning rate rises until the last of these steps of a training."""
    if recipe.warmup < steps or not steps or recipe.warmup < 2:
        return None
    highest = max(_rate(recipe, step, steps) for step in range(steps))
    return (
        f"the warm-up takes {recipe.warmup} steps and the training {steps}, so the learning rate never reaches the recipe's: "
        f"its highest is {highest:.0%} of it; --set warmup={steps // 10}, or train for more epochs"
    )


def _rate(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of a step, as a share of the recipe's."""
    warmup = min(1.0, (step + 1) / max(1, recipe.warmup))
    return float(warmup * max(0.0, 1 - step / steps) ** recipe.power)


def _average(net: nn.Module, decay: float) -> AveragedModel:
    """The running average of the weights.

    The decay is smaller in the first steps: otherwise a short training would keep mostly its initial weights.
    """

    def update(average: Parts, current: Parts, count: Tensor | int) -> None:
        steps = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + steps) / (4 + steps)))(average, current, count)  # type: ignore[no-untyped-call]

    return AveragedModel(net, multi_avg_fn=update, use_buffers=True)


@torch.no_grad()
def _mixed(end: FCN, start: FCN, share: float) -> FCN:
    """A network whose floating-point tensors are `share` of the start's and the rest of the end's."""
    net, tensors = copy.deepcopy(end), start.state_dict()
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(tensors[name], share)
    return net


def _parameter_groups(net: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameter groups: the backbone and the rest have their own rates; biases and batch norms have no weight decay."""
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
