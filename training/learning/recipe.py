"""Recipes: the hyperparameters of a training, read from a TOML file and flags."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from model.architecture import DROPOUT, Architecture
from model.preprocessing import RGB
from training.data.files import read_text

CACHE_MB = 4096  # memory for decoded frames, unless the command says otherwise
Ends = TypeVar("Ends", tuple[float, float], tuple[int, int])


def _require_order(ends: Ends) -> Ends:
    if ends[0] > ends[1]:
        raise PydanticCustomError("range", "Input should be low and high, in this order")
    return ends


def _require_parts(parts: int, info: ValidationInfo) -> int:
    if "batch" in info.data and parts > info.data["batch"]:  # pydantic leaves a batch that failed its own check out
        raise PydanticCustomError("parts", "Input should be 1 to the batch of {batch}", info.data)
    return parts


Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Row = Annotated[int, Field(ge=-1)]
Weight = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(gt=0)]
Scales = Annotated[tuple[Factor, Factor], AfterValidator(_require_order)]
Sides = Annotated[tuple[Positive, Positive], AfterValidator(_require_order)]
Parts = Annotated[Positive, AfterValidator(_require_parts)]


class RecipeError(ValueError):
    """A recipe with an unknown name or an impossible value."""


class Recipe(BaseModel):
    """Hyperparameters of a training.

    variant to dropout: the network's, as in `Architecture`.
    start_rows: for each class, one of the start (a row of its score layers), with whose weights it starts, or -1 for random
        weights. Not stated: the rows of the classes of the same name, if the start is a weights file of ours. Else, and if
        empty, the layers are loaded if they have the same number of classes.
    start_scores: as `start_rows`, with several scores for a class: all of the start's that count for it. Not stated: the
        background, if the start knows it, also has the scores of the start's classes that the data lacks.
    rare_share: share of crops that show a rare class, one with fewer pixels in the data than the median class: the class is
        drawn, then a frame that shows it, then a crop that holds a pixel of it (after nnU-Net, Isensee et al. 2021, which takes
        a third). The other crops are of the epoch's frames, anywhere.
    epoch_crops: number of crops of an epoch (0: as many as train has frames).
    batch: number of crops of one step, over all processes.
    accumulate: number of parts into which each process splits its share of the batch. It runs one part after the other and
        adds their gradients: this takes less memory.
    batch_loss: the loss whose gradient is taken. `mean`: averaged over the labelled pixels of the batch. `sum`: that mean,
        times the number of crops of the step.
    crop: (height, width) in pixels. scales: range of the random scale; its logarithm is uniform. scales_of: what is scaled.
        `side`: the image at its working size, to which the service scales it by `side`. `file`: the image in its file's size.
    flip, vertical_flip: shares of crops that are mirrored left to right, and upside down.
    quarter_turns: share of crops that are turned by 90, 180 or 270 degrees, each as often.
    rotation: crops are rotated by up to so many degrees in both directions; their corners show what lies around them.
    color: strength of brightness, contrast and saturation jitter. hue: strength of hue jitter, at most 0.5.
    gamma: the random gamma lies between 1 / (1 + gamma) and 1 + gamma; its logarithm is uniform.
    blur: share of crops that are blurred (Gaussian, sigma 0.3 to 1.5).
    jpeg: share of crops that are compressed as JPEG (quality 30 to 90).
    learning_rate: of the backbone; head, scores and upsamplings have `head_factor` times this rate. The rates fall as
        (1 - step/steps) ** power (poly, Liu et al. 2015), after a linear rise over the first `warmup` steps.
    optimizer: `adamw`, or `sgd` with `momentum`.
    class_weights: `none`, or `median`: (median frequency / frequency) ** `class_weights_power`, after Eigen & Fergus 2015,
        but with frequencies over all labelled pixels.
    label_weight, lovasz_weight, dice_weight: weights of the cross-entropy, in which class weights count, the Lovász-softmax
        loss and the Dice loss (`training.learning.losses`).
    unlabelled_border: distance in pixels, for masks with coarse borders. The losses ignore pixels that are closer to another
        class.
    teacher_weight: weight of the divergence from the teacher (Hinton et al. 2015). The teacher's probabilities are averaged
        over `teacher_scales` and left-right flips. teacher_where: `everywhere`, or `unlabelled`: at pixels alone that show none
        of the classes which their set labels.
    ema: decay of the moving average of the weights (0: no average). The averaged weights are then scored and saved. The decay
        is smaller in the first steps.
    start_share: share of the start's weights in the network that is scored and saved; the others are those that were trained
        (Wortsman et al. 2022, section 3). So the network keeps more of what its start knew and few frames show.
    autocast: precision of the forward pass: `none` (float32), `bfloat16`, `float16`, or `auto`: bfloat16 on a GPU that
        calculates in it, else float32. Many CPUs emulate bfloat16, and are several times slower in it.
    side, tile: the weights file's advised range of the longer side, and advised tile (height, width), in pixels.
    plan: whether sides, batch, schedule and losses follow the data and the start where they are not stated
        (`training.learning.plan` lists them).
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    variant: str = "fcn8s"
    backbone: str = "mobilenet_v2"
    output_stride: int = 16
    head: str = "pooled"
    head_width: int = 256
    width: float = 1.0
    skip_width: int = 0
    decoder: str = "aligned"
    score_scales: tuple[float, float] = (1.0, 1.0)
    dropout: Annotated[float, Field(ge=0, lt=1)] = DROPOUT
    start_rows: tuple[Row, ...] = ()
    start_scores: tuple[Annotated[tuple[Row, ...], Field(min_length=1)], ...] = ()
    epochs: Count = 60
    epoch_crops: Count = 0
    rare_share: Fraction = 0.0
    batch: Positive = 8
    accumulate: Parts = 1
    batch_loss: Literal["mean", "sum"] = "mean"
    crop: tuple[Positive, Positive] = (288, 384)
    scales: Scales = (0.5, 1.75)
    scales_of: Literal["side", "file"] = "side"
    flip: Fraction = 0.5
    vertical_flip: Fraction = 0.0
    quarter_turns: Fraction = 0.0
    rotation: Annotated[float, Field(ge=0, le=45)] = 0.0
    color: Weight = 0.2
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    gamma: Weight = 0.0
    blur: Fraction = 0.0
    jpeg: Fraction = 0.0
    learning_rate: Factor = 5e-4
    head_factor: Weight = 5.0
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: Fraction = 0.9
    weight_decay: Weight = 0.01
    warmup: Count = 20
    power: Weight = 0.9
    clip_norm: Factor = 10.0
    freeze_batch_norm: bool = False
    class_weights: Literal["none", "median"] = "none"
    class_weights_power: float = 0.5
    lovasz_weight: Weight = 0.0
    dice_weight: Weight = 0.0
    unlabelled_border: Count = 0
    teacher_weight: Weight = 0.0
    teacher_where: Literal["everywhere", "unlabelled"] = "everywhere"
    teacher_scales: Annotated[tuple[Factor, ...], Field(min_length=1)] = (1.0,)
    label_weight: Weight = 1.0
    ema: Fraction = 0.0
    start_share: Fraction = 0.0
    autocast: Literal["auto", "none", "bfloat16", "float16"] = "auto"
    side: Sides = (512, 512)
    tile: tuple[Positive, Positive] = (512, 512)
    plan: bool = False
    seed: Count = 0

    def architecture(self, num_classes: int, bands: int = len(RGB)) -> Architecture:
        if self.start_scores and len(self.start_scores) != num_classes:
            number = len(self.start_scores)
            raise RecipeError(f"start_scores must be a list for each of {num_classes} classes, got {number} lists")
        names = {item.name for item in fields(Architecture)}
        numbers = tuple(map(len, self.start_scores))
        class_scores = numbers if max(numbers, default=1) > 1 else ()
        return Architecture(num_classes=num_classes, bands=bands, class_scores=class_scores, **self.model_dump(include=names))

    @property
    def score_rows(self) -> tuple[int, ...]:
        """For each score of the network, a row of the start's score layers, or -1 for random weights."""
        return tuple(chain.from_iterable(self.start_scores)) or self.start_rows

    def steps_of_epoch(self, frames: int) -> int:
        """The optimiser's steps of an epoch over so many frames of train."""
        return max(1, (self.epoch_crops or frames) // self.batch)


def make_recipe(path: Path | None, changes: Mapping[str, Any]) -> Recipe:
    """The recipe of a TOML file, or the defaults without one, with these changes; raises `RecipeError`."""
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(read_text(path))
        except (OSError, ValueError) as error:
            raise RecipeError(f"{path} is not a recipe: {error}") from error
    try:
        return Recipe.model_validate({name: _as_tuple(value) for name, value in (values | dict(changes)).items()})
    except ValidationError as error:
        problems = [f"{path if item['loc'][0] not in changes else 'changes'}: {_problem(item)}" for item in error.errors()]
        raise RecipeError("; ".join(problems)) from error


def parse_changes(texts: Sequence[str]) -> dict[str, Any]:
    """Parses changes of a recipe, written `name=value` with values as in TOML; the last change of a name wins.

    Raises `RecipeError` for a text that is not TOML.
    """
    changes: dict[str, Any] = {}
    for text in texts:
        try:
            changes |= tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"a change is written as in TOML, like ema=0.99 or head='fc', got {text!r}: {error}") from error
    return changes


def _as_tuple(value: Any) -> Any:
    """The value with tuples in place of TOML's arrays, also of arrays in arrays."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _problem(error: ErrorDetails) -> str:
    """One line: the field, what was expected and what came."""
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"unknown {name!r}; a recipe has {', '.join(Recipe.model_fields)}"
    rule = "must be given" if error["type"] == "missing" else re.sub("^(Input|Tuple) should", "must", error["msg"])
    return f"{name} {rule}, got {error['input']!r}"
