"""What a training begins with, by the arguments of `fcn-train`: its data, its recipe, the network and the teacher."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from model.labels import LabelSet
from model.networks.builder import build_network
from model.networks.device import dtype_name
from model.networks.fcn import FCN, see_bands
from model.networks.servable import load_network
from model.preprocessing import RGB, Preprocessing
from model.weights_file import Weights, load_weights
from training.commands.command import print_lines
from training.data.class_mapping import ClassMapping, identity_mapping, parse_class_mapping
from training.data.label_files import find_labels
from training.data.problems import raise_all
from training.data.split import Split, get_split
from training.learning.augmentation import scaled_size
from training.learning.distributed import World
from training.learning.optimization import forward_dtype
from training.learning.recipe import Recipe
from training.learning.run import Run
from training.learning.starts import Start
from training.learning.teacher import Teacher
from training.survey.folds import pooled
from training.survey.inspection import class_errors, meaning, notes, pair_errors, pair_notes
from training.survey.records import Survey, survey_all


@dataclass(frozen=True)
class TrainingData:
    """The surveyed splits of a training. The masks of `validation` are mapped to the classes of the score."""

    train: Survey
    validation: Survey


def survey_splits(args: argparse.Namespace, file: Path) -> TrainingData:
    """Surveys both splits; prints how masks are read, and what may be wrong.

    file: where the survey's records are kept. Raises `DataError` for errors in the data, and `ValueError` for wrong arguments.
    """
    train, validation = survey_all(_splits(args), file=file)
    raise_all(pair_errors(train, validation))
    print_lines([meaning(train), *pair_notes(train, validation)])
    return TrainingData(train, validation)


def survey_pool(args: argparse.Namespace, file: Path) -> TrainingData:
    """Surveys the frames of train and val as one split, which is both of the result; prints and raises as `survey_splits`."""
    train, validation = _splits(args)
    (pool,) = survey_all([pooled(train, validation)], file=file)
    raise_all(class_errors(pool, fewest_classes=2))
    print_lines([meaning(pool), *notes(pool)])
    return TrainingData(pool, replace(pool, split=replace(pool.split, mapping=validation.mapping)))


def _splits(args: argparse.Namespace) -> tuple[Split, Split]:
    labels = find_labels(args.labels, args.data)
    mapping = parse_class_mapping(args.class_map, labels) if args.class_map else None
    train, validation = (
        get_split(args.data, name, labels, mapping, args.masks, args.masks_orientation)
        for name in (args.train_split, args.val_split)
    )
    to_score = score_mapping(args, train.labels)
    return train, replace(validation, mapping=replace(to_score, table=to_score(validation.mapping.table)))


def score_mapping(args: argparse.Namespace, labels: LabelSet) -> ClassMapping:
    """The mapping from the trained classes to those of the score; raises `ValueError` if it leaves one out."""
    if not args.score_map:
        return identity_mapping(labels)
    return parse_class_mapping(args.score_map, labels).require_complete(labels.classes)


def make_run(
    args: argparse.Namespace, recipe: Recipe, data: TrainingData, start: Start, device: torch.device, world: World
) -> Run:
    """Builds the network, loads its start and the teacher, and gives the run; raises `ValueError` if they do not fit."""
    survey, split = data.train, data.train.split
    net, new_tensors = start_network(recipe, start, len(split.labels), len(split.bands))
    if recipe.start_share and new_tensors:
        raise ValueError(
            f"start_share is {recipe.start_share}, but the start lacks {len(new_tensors)} tensors of this network, such as "
            f"{new_tensors[0]}; give a --start of the same classes and form, or leave start_share out"
        )
    if world.first:
        parameters = sum(p.numel() for p in net.parameters())
        precision = dtype_name(forward_dtype(recipe, device))
        line = f"training {parameters:,} parameters on {len(split.frames)} frames in {precision}"
        print(f"{line}; {len(new_tensors)} tensors are new in whole or in part")
    preprocessing = start.preprocessing(recipe.backbone).of_bands(split.bands)
    preprocessing = replace(preprocessing, side=recipe.side, tile=recipe.tile, gsd=_gsd(survey, recipe))
    origin = {"start": start.sha256, "class map": args.class_map or "", "teacher": ""}
    origin |= {"val": data.validation.contents, "score map": args.score_map or ""}  # scores of epochs are compared
    teacher = None
    if args.teacher:
        weights = load_weights(args.teacher)
        teacher = _teacher(weights, recipe, split, preprocessing, device)
        origin["teacher"] = weights.sha256
    elif why := _needs_teacher(recipe, split):
        raise ValueError(f"{why}, which needs a teacher; give --teacher FILE")
    return Run(
        net=net,
        survey=survey,
        recipe=recipe,
        preprocessing=preprocessing,
        folder=args.out,
        device=device,
        teacher=teacher,
        evaluate_every=args.evaluate_every,
        stop_after=args.stop_after,
        workers=args.workers,
        cache_mb=args.cache_mb,
        world=world,
        tensorboard=args.tensorboard,
        origin=origin,
    )


def _gsd(survey: Survey, recipe: Recipe) -> float | None:
    """Metres of a pixel that the network sees of a typical frame; None if the images are no tiles of scenes of one scale."""
    gsd, longer = survey.split.gsd, survey.longer_side
    return None if gsd is None else gsd * longer / max(scaled_size((longer, longer), recipe))


def start_network(recipe: Recipe, start: Start, classes: int, bands: int) -> tuple[FCN, list[str]]:
    """The network with the start's tensors, and the names of the tensors that are new.

    bands: of the images. If the start's images have three, its first convolution is widened to them.
    """
    torch.manual_seed(recipe.seed)
    has_bands = start.name == "none" or (start.weights is not None and start.weights.manifest.fcn.bands == bands)
    net = build_network(recipe.architecture(classes, bands if has_bands else len(RGB)))
    new_tensors = start.load(net, recipe.score_rows)
    see_bands(net, bands)
    return net, new_tensors


def _needs_teacher(recipe: Recipe, split: Split) -> str:
    """What uses a teacher, in words; empty if nothing does. Raises `ValueError` if it would have nothing to teach."""
    if recipe.teacher_where == "unlabelled" and not split.is_partial:
        raise ValueError("the recipe's teacher_where is 'unlabelled', but every set labels all classes; leave it out")
    if recipe.teacher_weight:
        return f"the recipe's teacher_weight is {recipe.teacher_weight}"
    return next((f"{each.folder} has void_above {each.void_above}" for each in split.sets if each.void_above < 1), "")


def _teacher(weights: Weights, recipe: Recipe, split: Split, preprocessing: Preprocessing, device: torch.device) -> Teacher:
    """The teacher; raises `ValueError` if it does not fit the training."""
    manifest = weights.manifest
    if not _needs_teacher(recipe, split):
        raise ValueError("--teacher has no effect, because the recipe's teacher_weight is 0; add --set teacher_weight=1.0")
    if manifest.labels.names != split.labels.names:
        raise ValueError(f"the teacher must have the classes {split.labels.names}, got {manifest.labels.names}")
    teacher_input, student_input = ((p.mean, p.std) for p in (manifest.preprocessing, preprocessing))
    if teacher_input != student_input:
        raise ValueError(f"the teacher must have the same mean and std as the start, {student_input}, got {teacher_input}")
    return Teacher(load_network(weights).to(device), recipe.teacher_scales)
