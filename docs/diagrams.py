"""Draws the pictures of the pages: the steps of a request, tiling, the FCN family, one photo in every format, and cut-outs.

`python -m docs.diagrams` writes them to `docs/pictures/`.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle
from PIL import Image

from docs.pictures import DOCS, sheet
from imaging.rendering import Rendering
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.inference.tiling import plan_tiles
from model.weights_file import DEFAULT_WEIGHTS, find_files

PHOTO, TILING_PHOTO = DOCS / "photos" / "cows.jpg", DOCS / "photos" / "chelsea.jpg"
CUTOUT_NAMES = ("cows", "dog", "astronaut", "chelsea")
CUTOUT_WIDTH, GAP, GREEN = 380, 10, (60, 190, 120)
INK, LINE, ACCENT, FILL = "#1f2933", "#52606d", "#0b7285", "#e3f2f5"
STEPS = (
    ("bytes", "PNG, JPEG, ..."), ("plan", "size, tiles"), ("decode", "upright RGB"), ("runtime", "logits of cells"),
    ("merge", "average of tiles"), ("argmax", "class map"), ("answer", "PNG, JSON, ..."),
)  # fmt: skip
STAGES = (("image", 1.0), ("pool1", 0.86), ("pool2", 0.73), ("pool3", 0.60), ("pool4", 0.48), ("pool5", 0.37), ("conv7", 0.37))
FAMILY = (("FCN-32s", (), "x32"), ("FCN-16s", ("pool4",), "x16"), ("FCN-8s", ("pool4", "pool3"), "x8"))


def main(folder: Path = DOCS / "pictures") -> None:
    mpl.rcParams.update({"svg.hashsalt": "fcn", "svg.fonttype": "none", "font.family": "sans-serif", "text.color": INK})
    folder.mkdir(exist_ok=True)
    for name, draw in (("pipeline", pipeline), ("tiling", tiling), ("family", family)):
        draw().savefig(folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
    segmenter = Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), device="cpu", precision="float32"))
    forms(segmenter, folder)
    cutouts(segmenter).save(folder / "cutouts.jpg")


def pipeline() -> Figure:
    """The steps from an image's bytes to the answer's."""
    figure, axes = _canvas(10.5, 1.5, (0, 7.05), (0, 1))
    for i, (name, note) in enumerate(STEPS):
        _box(axes, (i + 0.05, 0.3, 0.8, 0.5), FILL if i not in (0, 6) else "white")
        axes.text(i + 0.45, 0.62, name, ha="center", va="center", weight="bold", fontsize=10)
        axes.text(i + 0.45, 0.42, note, ha="center", va="center", fontsize=7.5, color=LINE)
        if i:
            _arrow(axes, (i - 0.13, 0.55), (i + 0.03, 0.55))
    axes.text(4.45, 0.1, "a band of rows at a time", ha="center", fontsize=8, color=ACCENT)
    axes.plot([3.05, 5.85], [0.2, 0.2], color=ACCENT, lw=1)
    return figure


def tiling() -> Figure:
    """Overlapping tiles over a photo, the last ones shifted inward."""
    photo = Image.open(TILING_PHOTO).convert("RGB").resize((640, 426))
    plan = plan_tiles((photo.height, photo.width), (256, 256), 0.25, "mean")
    height, width = plan.tops[-1] + plan.tile[0], plan.lefts[-1] + plan.tile[1]
    figure, axes = _canvas(7, 4.7, (-8, width + 8), (height + 8, -8))
    axes.imshow(np.pad(np.asarray(photo), ((0, 448 - 426), (0, 0), (0, 0)), mode="edge"), alpha=0.55)
    colors = mpl.colormaps["tab10"]
    for i, (top, left) in enumerate((top, left) for top in plan.tops for left in plan.lefts):
        axes.add_patch(Rectangle((left, top), 256, 256, fill=False, lw=2, ec=colors(i % 10)))
        axes.text(left + 128, top + 128, str(i + 1), ha="center", va="center", fontsize=15, weight="bold", color=colors(i % 10))
    axes.axhline(426, color="white", ls="--", lw=1.2)
    axes.text(634, 441, "repeated edge, up to a multiple of 32; removed at the end", ha="right", va="center", fontsize=8)
    return figure


def family() -> Figure:
    """Which stages FCN-32s, 16s and 8s score and sum (Long, Shelhamer & Darrell 2015, figure 3)."""
    figure, axes = _canvas(10.5, 4.6, (0, 10.6), (-3.5, 1.3))
    xs = {name: 0.55 + i * 1.1 for i, (name, _) in enumerate(STAGES)}
    for name, side in STAGES:
        _box(axes, (xs[name] - 0.3, 0.45 - side / 2, 0.6, side), "white" if name == "image" else FILL)
        axes.text(xs[name], 1.1, name, ha="center", fontsize=9)
    for before, after in pairwise(STAGES):
        _arrow(axes, (xs[before[0]] + 0.32, 0.45), (xs[after[0]] - 0.32, 0.45))
    for i, (name, skips, factor) in enumerate(FAMILY):
        y = -0.9 - i
        axes.text(0.1, y, name, weight="bold", va="center", fontsize=11)
        axes.plot([xs["conv7"], xs["conv7"]], [y, 0.2], color=LINE, lw=0.8, zorder=0)
        previous = "conv7"
        _score(axes, xs["conv7"], y)
        for skip in skips:
            axes.plot([xs[skip], xs[skip]], [y, 0.2], color=LINE, lw=0.8, zorder=0)
            _arrow(axes, (xs[previous] - 0.2, y), (xs[skip] + 0.22, y))
            axes.text((xs[previous] + xs[skip]) / 2, y + 0.12, "x2", ha="center", fontsize=8, color=LINE)
            _score(axes, xs[skip], y, "+")
            previous = skip
        axes.annotate(
            "", (8.55, y - 0.28), (xs[previous], y - 0.2),
            arrowprops={"arrowstyle": "->", "color": ACCENT, "connectionstyle": "angle,angleA=-90,angleB=0,rad=3"},
        )  # fmt: skip
        axes.text(8.65, y - 0.28, f"{factor}, bilinear: logits of every pixel", va="center", fontsize=8.5, color=ACCENT)
    note = "score: 1x1 convolution, a channel for each class"
    axes.text(xs["conv7"] + 0.3, -0.45, note, fontsize=8.5, color=LINE, va="center")
    return figure


def forms(segmenter: Segmenter, folder: Path) -> None:
    """The photo in each format that the service answers."""
    renderings = (Rendering("overlay"), Rendering("cutout"), Rendering("color"), Rendering("confidence"))
    answers = {rendering.format: _answer(segmenter, rendering) for rendering in renderings}
    polygons = json.loads(_answer(segmenter, Rendering("json", "polygons", tolerance=3)))["class_map"]["polygons"]
    photo = Image.open(PHOTO).convert("RGB")
    figure = Figure(figsize=(10.5, 8.2), layout="constrained")
    pictures = [("photo", photo), *((f"format={name}", _picture(data)) for name, data in answers.items())]
    pictures += [
        ("mask=polygons, tolerance 3", photo),
        ("format=binary", _picture(_answer(segmenter, Rendering("binary")))),
        ("format=color, min_confidence=0.9", _picture(_answer(segmenter, Rendering("color", min_confidence=0.9)))),
        ("format=color, palette=labels", _picture(_answer(segmenter, Rendering("color", palette="labels")))),
    ]
    grid = figure.subplots(3, 3).flatten()
    for axes, (title, picture) in zip(grid, pictures, strict=True):
        axes.imshow(picture, alpha=0.4 if title.startswith("mask") else 1)
        axes.set_title(title, fontsize=9)
        axes.axis("off")
    for regions in (value for id, value in polygons.items() if id != "0"):
        for outer, *_ in regions:
            grid[5].add_patch(Polygon(outer, fill=False, ec=ACCENT, lw=2))
    figure.savefig(folder / "forms.png", dpi=110, metadata={"Software": None})


def _picture(data: bytes) -> Image.Image:
    """The picture in RGB; transparent pixels show a chessboard of two greys."""
    image = Image.open(io.BytesIO(data))
    if image.mode != "RGBA":
        return image.convert("RGB")
    rows, columns = np.indices((image.height, image.width)) // 16
    board = Image.fromarray(np.where((rows + columns) % 2, 255, 220).astype(np.uint8)).convert("RGBA")
    return Image.alpha_composite(board, image).convert("RGB")


def cutouts(segmenter: Segmenter) -> Image.Image:
    """Photos before green, two in a row: each with a hard edge, and cut out as served."""
    pairs = [_pair(segmenter, DOCS / "photos" / f"{name}.jpg") for name in CUTOUT_NAMES]
    return sheet([pairs[start : start + 2] for start in range(0, len(pairs), 2)], GAP)


def _pair(segmenter: Segmenter, path: Path) -> Image.Image:
    photo = Image.open(path).convert("RGB")
    size, both = (CUTOUT_WIDTH, round(CUTOUT_WIDTH * photo.height / photo.width)), list[Image.Image]()
    for rendering in (Rendering("binary"), Rendering("cutout")):
        answer = Image.open(io.BytesIO(_answer(segmenter, rendering, path)))
        picture = Image.new("RGB", photo.size, GREEN)
        picture.paste(photo, mask=answer.getchannel(answer.getbands()[-1]))
        both.append(picture.resize(size))
    return sheet([both], 0)


def _answer(segmenter: Segmenter, rendering: Rendering, path: Path = PHOTO) -> bytes:
    data = path.read_bytes()
    return segmenter.segment(data, segmenter.plan(data, Options(rendering=rendering))).body


def _canvas(width: float, height: float, x: tuple[float, float], y: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=x, ylim=y)
    axes.axis("off")
    return figure, axes


def _box(axes: Axes, box: Sequence[float], color: str) -> None:
    left, bottom, width, height = box
    style = "round,pad=0,rounding_size=0.06"
    axes.add_patch(FancyBboxPatch((left, bottom), width, height, boxstyle=style, fc=color, ec=LINE, lw=1))


def _score(axes: Axes, x: float, y: float, text: str = "") -> None:
    axes.add_patch(Rectangle((x - 0.16, y - 0.16), 0.32, 0.32, fc="white", ec=ACCENT, lw=1.4))
    axes.text(x, y - 0.01, text, ha="center", va="center", color=ACCENT, weight="bold")


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": LINE})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
