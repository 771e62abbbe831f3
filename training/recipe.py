"""A recipe: everything that decides what a training does, in one typed object, from a TOML file and flags."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from model.architecture import Architecture


class RecipeError(ValueError):
    """A recipe with an unknown name or an impossible value."""


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of a training.

    variant to score_scales: the network's, as in `Architecture`.
    start_rows: for each class, the row of the start's score layer that it begins as (empty: as many classes, or a new layer).
    frames_per_epoch: how many of the frames, drawn anew, an epoch takes (0: all); a checkpoint follows each.
    repeats: how often an epoch shows the frames that hold these classes, such as person=2; the largest of a frame's counts.
    batch: crops of one step, over all processes, worked on in `accumulate` parts one after the other.
    batch_loss: `mean` over the batch, or `sum`: the mean times the crops of a step.
    crop: (height, width). scales: range of the random scale, drawn evenly in its logarithm.
    color: strength of brightness, contrast and saturation jitter.
    learning_rate: the backbone's; head, scores and upsamplings learn `head_factor` times faster. It falls as
        (1 - step/steps) ** power (poly, Liu et al. 2015) after `warmup` steps.
    freeze_convolutions: how many of the backbone's convolutions, from its first on, stay as they are.
    optimizer: `adamw`, or `sgd` with `momentum`.
    class_weights: `none`, or `median` (median frequency / frequency, after Eigen & Fergus 2015, but with frequencies
        over all labelled pixels), to the power `class_weights_power`.
    label_weight, lovasz_weight: of the cross-entropy and of the Lovász-softmax loss beside it.
    unlabelled_border: pixels nearer than this to another class bear no label in the losses, for masks that are coarse there.
    teacher_weight: of the divergence from the teacher (Hinton et al. 2015), whose probabilities are averaged over
        `teacher_scales` and left-right flips; `teacher_share` of a step's crops are shown to it.
    ema: decay of the averaged weights, which are those that are saved (0: none).
    autocast: `none`, `bfloat16` or `float16`.
    side: the advised range of the longer side that the file will bear.
    """

    variant: str = "fcn8s"
    backbone: str = "mobilenet_v2"
    output_stride: int = 16
    head: str = "pooled"
    head_width: int = 256
    width: float = 1.0
    skip_width: int = 0
    decoder: str = "aligned"
    score_scales: tuple[float, float] = (1.0, 1.0)
    start_rows: tuple[int, ...] = ()
    epochs: int = 60
    frames_per_epoch: int = 0
    repeats: Mapping[str, int] = field(default_factory=dict)
    batch: int = 8
    accumulate: int = 1
    batch_loss: str = "mean"
    crop: tuple[int, int] = (288, 384)
    scales: tuple[float, float] = (0.5, 1.75)
    flip: float = 0.5
    color: float = 0.2
    learning_rate: float = 5e-4
    head_factor: float = 5.0
    optimizer: str = "adamw"
    momentum: float = 0.9
    weight_decay: float = 0.01
    warmup: int = 20
    power: float = 0.9
    clip_norm: float = 10.0
    freeze_batch_norm: bool = False
    freeze_convolutions: int = 0
    class_weights: str = "none"
    class_weights_power: float = 0.5
    lovasz_weight: float = 0.0
    unlabelled_border: int = 0
    teacher_weight: float = 0.0
    teacher_scales: tuple[float, ...] = (1.0,)
    teacher_share: float = 1.0
    label_weight: float = 1.0
    ema: float = 0.0
    autocast: str = "bfloat16"
    side: tuple[int, int] = (512, 512)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch < 1 or self.epochs < 0:
            raise RecipeError(f"batch must be at least 1 and epochs at least 0, got {self.batch} and {self.epochs}")
        if not 0 < self.scales[0] <= self.scales[1]:
            raise RecipeError(f"scales must be 0 < low <= high, got {self.scales}")
        for name in ("flip", "ema", "teacher_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise RecipeError(f"{name} must be 0 to 1, got {getattr(self, name)}")
        if min(self.crop) < 1:
            raise RecipeError(f"crop must be (height, width) of at least 1, got {self.crop}")
        if self.frames_per_epoch < 0 or self.seed < 0:
            raise RecipeError(f"frames_per_epoch and seed must be 0 or more, got {self.frames_per_epoch} and {self.seed}")
        if not self.teacher_scales:
            raise RecipeError("teacher_scales must hold at least one scale, got none")
        if self.class_weights not in ("none", "median"):
            raise RecipeError(f"class_weights must be none or median, got {self.class_weights!r}")
        if self.autocast not in ("none", "bfloat16", "float16"):
            raise RecipeError(f"autocast must be none, bfloat16 or float16, got {self.autocast!r}")
        if self.batch_loss not in ("mean", "sum"):
            raise RecipeError(f"batch_loss must be mean or sum, got {self.batch_loss!r}")
        if self.optimizer not in ("adamw", "sgd"):
            raise RecipeError(f"optimizer must be adamw or sgd, got {self.optimizer!r}")
        if not 1 <= self.accumulate <= self.batch:
            raise RecipeError(f"accumulate must be 1 to the batch of {self.batch}, got {self.accumulate}")

    def architecture(self, num_classes: int) -> Architecture:
        return Architecture(
            self.variant,
            self.backbone,
            num_classes,
            self.output_stride,
            self.head,
            self.head_width,
            self.width,
            self.skip_width,
            self.decoder,
            self.score_scales,
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def make_recipe(path: Path | None, changes: Mapping[str, Any]) -> Recipe:
    """The recipe of a TOML file (the defaults without one) with these changes; raises `RecipeError`."""
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise RecipeError(f"{path} is not a recipe: {error}") from error
    merged = values | dict(changes)
    known = {item.name for item in fields(Recipe)}
    if unknown := sorted(set(merged) - known):
        raise RecipeError(f"{path or 'changes'}: unknown {unknown}; a recipe has {sorted(known)}")
    arguments: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in merged.items()}
    defaults = Recipe()
    for name, value in arguments.items():
        _check_type(name, value, getattr(defaults, name))
    return Recipe(**arguments)


def parse_changes(texts: Sequence[str]) -> dict[str, Any]:
    """Changes of a recipe written as `name=value`, each value as in TOML, the last of a name counting.

    Raises `RecipeError` for what is not TOML.
    """
    changes: dict[str, Any] = {}
    for text in texts:
        try:
            changes |= tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"a change is written as in TOML, like ema=0.99 or head='fc', got {text!r}: {error}") from error
    return changes


def _check_type(name: str, value: Any, default: Any) -> None:
    """Raises `RecipeError` where a value is not of its default's type; whole numbers are taken for fractions."""
    if name == "repeats":
        fits = isinstance(value, Mapping) and all(type(item) is int and item > 0 for item in value.values())
    elif name == "start_rows":
        fits = isinstance(value, tuple) and all(type(item) is int for item in value)
    elif isinstance(default, tuple):
        whole = isinstance(value, tuple) and (name == "teacher_scales" or len(value) == len(default))
        fits = whole and all(_like(item, default[0]) for item in value)
    else:
        fits = _like(value, default)
    if not fits:
        raise RecipeError(f"{name} must be written like {default!r}, got {value!r}")


def _like(value: Any, default: Any) -> bool:
    return type(value) is type(default) or (type(value) is int and type(default) is float)
