"""Arguments on the splits and classes of a data set and on how to read its masks; a report on how they are read."""

from __future__ import annotations

import sys
from typing import get_args

from model.command_line import ArgumentGroup
from training.commands.command import print_lines
from training.data.masks import DrawnOn, Meaning
from training.data.split import Split
from training.survey.inspection import report_all
from training.survey.records import survey_all


def add_split_arguments(p: ArgumentGroup) -> None:
    """Adds `--labels`, `--class-map`, the arguments on masks, `--train-split` and `--val-split`."""
    p.add_argument(
        "--labels", help="classes of the masks: voc, camvid, or a file (default: the file in the data's folder, or its layout)"
    )
    p.add_argument("--class-map", help="train on fewer classes: 0=0,8=1,*=0 or leaf=plant,*=ground (*: all other classes)")
    add_mask_arguments(p)
    p.add_argument("--train-split", default="train", help="split to learn from (default: train)")
    p.add_argument("--val-split", default="val", help="split to score on (default: val)")


def add_mask_arguments(p: ArgumentGroup) -> None:
    """Adds `--masks` and `--masks-orientation`."""
    p.add_argument(
        "--masks",
        choices=get_args(Meaning),
        default="ids",
        help="what masks hold. ids: class ids as the pixel values of grey and palette images, or class colours in RGB images; "
        "colors: class colours, whatever the kind of image (default: ids)",
    )
    p.add_argument(
        "--masks-orientation",
        choices=get_args(DrawnOn),
        default="upright",
        help="whether masks were drawn on the photo as EXIF turns it (upright) or as its file stores it (default: upright)",
    )


def print_mask_report(split: Split) -> None:
    """Prints on stderr how the masks of a split are read, and what may be wrong with it; raises `DataError` for errors."""
    (report,) = report_all(survey_all([split], pixels=False))
    print_lines([report.meaning, *report.notes], sys.stderr)
