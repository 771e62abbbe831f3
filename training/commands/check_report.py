"""A page on a data set: what is wrong, what it holds, and pictures of its labels and of the crops that a training sees."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from common.arrays import Pixels
from common.printable import printable
from common.whole_file import write_file
from imaging.classes import VOID, is_background
from model.inference.scaling import working_size
from model.labels import LabelSet, voc_color
from training.data.masks import open_mask
from training.data.problems import DataError
from training.data.split import Split
from training.survey.inspection import Row, class_table, columns, grouped, meaning, summary
from training.survey.records import Survey

Picture = tuple[Pixels, str]
"""Pixels (height, width, 3), and a caption."""
PICTURE_SIDE, QUALITY = 320, 80  # pixels of the longer side of pictures on the page, and their quality as JPEG
STRENGTH = 0.55  # of the class's colour over the photo
KEY = (
    "Each frame is beside its labels. A class has the colour of the table above, and the background none. White is void: "
    "pixels that training and scores leave out."
)
ERROR_KEY = (
    "Each image is beside its mask as the file has it. Values have the colours of the classes, or of VOC where there is no "
    "class. Grey: the file cannot be read."
)
CROP_KEY = (
    "Each crop is beside its labels, in the same colours. Crops are scaled, mirrored and changed in colour at random. Where a "
    "crop is larger than its frame, the rest is padding: one colour in the picture, void (white) in its labels."
)
START = '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #1c2024; }
body, pre { overflow-wrap: anywhere; } .wide { overflow-x: auto; }
table { border-collapse: collapse; } td, th { white-space: nowrap; }
td, th { padding: .15rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child, th:first-child { text-align: left; } pre { white-space: pre-wrap; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; } img { max-width: 100%; } figcaption { font-size: 13px; overflow-wrap: anywhere; }
.key { display: inline-block; width: 1em; height: 1em; margin-right: .4em; vertical-align: -.15em; border: 1px solid #888; }
.wrong li { color: #a40000; }
"""


@dataclass(frozen=True)
class DataReport:
    """What `fcn-check` says of a data set.

    surveys: the splits that could be opened, the first of them that of the training. errors: of the splits. notes: remarks on
    them. plan: lines of text on the training. unreadable: the splits, with the frames alone that the surveys lack.
    """

    name: str
    surveys: Sequence[Survey]
    errors: Sequence[DataError]
    notes: Sequence[str]
    plan: Sequence[str] = ()
    unreadable: Sequence[Split] = ()

    @property
    def summary(self) -> list[str]:
        """What the splits hold, in lines of text."""
        return [line for survey in self.surveys for line in (*summary(survey), f"  {meaning(survey)}")]

    def lines(self) -> list[str]:
        """The report in text, but for the plan."""
        lines = self.summary
        if self.surveys:
            lines += ["", *columns(class_table(self.surveys)), ""]
        lines += [f"{len(self.errors)} errors", *(f"  {line}" for line in grouped(self.errors))]
        return [*lines, f"{len(self.notes)} remarks", *(f"  {note}" for note in self.notes)]


def write_report(path: Path, report: DataReport, frames: int, crops: Iterable[Picture] = ()) -> None:
    """Writes the page: one HTML file with all pictures in it, which needs no network.

    frames: how many frames of each split are shown after those that errors and remarks name. crops: as a training sees them,
    each beside its labels. Creates its folder. Reads the images that are shown.
    """
    surveys = report.surveys
    labels = surveys[0].split.labels if surveys else None
    parts = [
        f"<h1>{escape(report.name)}</h1>",
        _list(f"{len(report.errors)} errors", list(map(str, report.errors)), "wrong"),
        _list(f"{len(report.notes)} remarks", report.notes, "notes"),
        "<h2>Classes</h2>",
        _table(class_table(surveys), labels),
        "<h2>Files</h2>",
        f"<pre>{escape(chr(10).join(report.summary))}</pre>",
    ]
    if report.plan:
        parts += ["<h2>Plan</h2>", f"<pre>{escape(chr(10).join(report.plan))}</pre>"]
    for split in filter(lambda each: each.frames, report.unreadable):
        places = range(min(frames, len(split.frames)))
        parts.append(f"<h2>Errors of {escape(split.name)}: {len(places)} of {len(split.frames)} frames</h2><p>{ERROR_KEY}</p>")
        parts.append(_pictures(_error_picture(split, index, report.errors) for index in places))
    for survey in surveys:
        first = named_frames(survey, [*map(str, report.errors), *report.notes])
        indices = list(dict.fromkeys([*first, *chosen_frames(survey, frames)]))
        parts.append(f"<h2>Labels of {escape(survey.split.name)}: {len(indices)} of {len(survey.records)} frames</h2>")
        parts.append(f"<p>{f'Errors and remarks name the first {len(first)}. ' if first else ''}{KEY}</p>")
        parts.append(_pictures(_frame_picture(survey, index) for index in indices))
    if crop_figures := _pictures(crops):
        parts.append(f"<h2>Crops, as the training sees them</h2><p>{CROP_KEY}</p>")
        parts.append(crop_figures)
    head = f"{START}<title>{escape(report.name)}</title><style>{STYLE}</style>"
    document = f"{head}</head><body>{''.join(parts)}</body></html>\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, document)


def named_frames(survey: Survey, lines: Sequence[str]) -> list[int]:
    """The indices of the frames whose image or mask a line names, in the order of the lines."""
    paths = [[printable(str(path)) for path in (frame.image, frame.mask)] for frame in survey.split.frames]
    indices = (index for line in lines for index, own in enumerate(paths) if any(path in line for path in own))
    return list(dict.fromkeys(indices))


def chosen_frames(survey: Survey, most: int) -> list[int]:
    """The indices of up to `most` frames in order: for each class the one that shows most of it, and others evenly spread."""
    counts = survey.class_pixels
    if len(counts) <= most:
        return list(range(len(counts)))
    of_classes = [int(counts[:, index].argmax()) for index in np.argsort(counts.sum(0)) if counts[:, index].any()]
    spread = [int(index) for index in np.linspace(0, len(counts) - 1, most)]
    return sorted(list(dict.fromkeys([*of_classes, *spread]))[:most])


def overlay(image: Pixels, ids: Pixels, labels: LabelSet) -> Pixels:
    """The image (H, W, 3) under the classes' colours; void is white, and the background stays as it is."""
    palette = np.full((256, 3), 255, np.uint8)
    strengths = np.full(256, STRENGTH)
    for entry in labels.classes:
        palette[entry.id] = entry.color
        strengths[entry.id] = 0 if is_background(entry.name) else STRENGTH
    strength = strengths[ids][..., None]
    return np.asarray(image * (1 - strength) + palette[ids] * strength).round().astype(np.uint8)


def _frame_picture(survey: Survey, index: int) -> Picture:
    split = survey.split
    size = working_size(survey.records[index].size, "auto", (1, PICTURE_SIDE))
    image = split.decode(index, split.file(index), size)[..., :3]
    ids = np.asarray(Image.fromarray(split.mask(index)).resize(size[::-1], Image.Resampling.NEAREST))
    present = np.argsort(survey.class_pixels[index])[::-1]
    names = [split.labels.names[class_id] for class_id in present.tolist() if survey.class_pixels[index, class_id]]
    return np.hstack([image, overlay(image, ids, split.labels)]), f"{split.frames[index].name}: {', '.join(names) or 'void'}"


def _error_picture(split: Split, index: int, errors: Sequence[DataError]) -> Picture:
    """A frame with errors: its image and its mask as far as each can be read, at one height, and what is wrong."""
    frame = split.frames[index]
    palette = np.array([voc_color(value) for value in range(256)], np.uint8)
    for entry in split.source_labels.classes:
        palette[entry.id] = entry.color
    palette[VOID] = 255

    def photo() -> Pixels:
        return split.image(index)[..., :3]

    def mask() -> Pixels:
        pixels = open_mask(frame.mask).pixels
        return palette[np.minimum(pixels, VOID)] if pixels.ndim == 2 else np.asarray(pixels, np.uint8)

    halves = []
    for reader in (photo, mask):
        try:
            half = Image.fromarray(np.ascontiguousarray(reader()))
        except (OSError, ValueError):
            half = Image.new("RGB", (PICTURE_SIDE, PICTURE_SIDE), "grey")
        width = min(4 * PICTURE_SIDE, max(1, round(half.width * PICTURE_SIDE / half.height)))
        halves.append(np.asarray(half.resize((width, PICTURE_SIDE), Image.Resampling.NEAREST)))
    paths = [printable(str(path)) for path in (frame.image, frame.mask)]
    lines = [text for text in map(str, errors) if any(path in text for path in paths)]
    return np.hstack(halves), f"{frame.name}: {'; '.join(lines)}"


def _pictures(pictures: Iterable[Picture]) -> str:
    """The pictures as HTML; empty if there is none."""
    figures = [
        f'<figure><img alt="" src="{_data_url(pixels)}"><figcaption>{escape(caption)}</figcaption></figure>'
        for pixels, caption in pictures
    ]
    return f'<div class="pictures">{"".join(figures)}</div>' if figures else ""


def _data_url(pixels: Pixels) -> str:
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((2 * PICTURE_SIDE, 2 * PICTURE_SIDE))
    image.save(file, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _list(title: str, lines: Sequence[str], kind: str) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<h2>{title}</h2><ul class="{kind}">{items}</ul>'


def _table(rows: Sequence[Row], labels: LabelSet | None) -> str:
    """The table of classes, each with its colour."""
    colors = {entry.name: entry.hex_color for entry in labels.classes} if labels else {}
    lines = []
    for index, row in enumerate(rows):
        tag = "td" if index else "th"
        key = f'<span class="key" style="background:{colors[row[0]]}"></span>' if index and row[0] in colors else ""
        cells = [key + escape(row[0]), *map(escape, row[1:])]
        lines.append(f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'
