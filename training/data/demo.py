"""Writes a data set of generated shapes in the VOCdevkit layout, for a first training without own data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

NAMES = ("background", "circle", "square", "triangle")
COLORS = ("#000000", "#4269d0", "#efb118", "#3ca951")
SIDE = 96


def write_demo_data(folder: Path, train: int = 96, val: int = 24, seed: int = 0) -> Path:
    """Writes images, masks, lists and `classes.json` into the folder; gives the path of `classes.json`.

    train, val: the numbers of frames.
    """
    rng = np.random.default_rng(seed)
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for split, count in (("train", train), ("val", val)):
        names = [f"{split}_{index:03d}" for index in range(count)]
        (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
        for name in names:
            image, mask = _draw(rng)
            image.save(folder / "JPEGImages" / f"{name}.jpg", quality=92)
            mask.save(folder / "SegmentationClass" / f"{name}.png")
    classes = [{"id": i, "name": n, "color": c} for i, (n, c) in enumerate(zip(NAMES, COLORS, strict=True))]
    path = folder / "classes.json"
    path.write_text(json.dumps({"classes": classes, "ignore_index": 255}))
    return path


def demo_photo(columns: int = 4, rows: int = 2, seed: int = 1) -> Image.Image:
    """A photo of so many generated images side by side, to try the network on."""
    rng = np.random.default_rng(seed)
    photo = Image.new("RGB", (columns * SIDE, rows * SIDE))
    for index in range(columns * rows):
        photo.paste(_draw(rng)[0], (index % columns * SIDE, index // columns * SIDE))
    return photo


def _draw(rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """An image of one to three shapes in random bright colours on a dark, noisy background, and its mask."""
    image = Image.fromarray(rng.integers(0, 70, (SIDE, SIDE, 3), dtype=np.uint8))
    mask = Image.new("L", (SIDE, SIDE))
    for _ in range(rng.integers(1, 4)):
        kind = int(rng.integers(1, len(NAMES)))
        radius = int(rng.integers(12, 26))
        x, y = (int(v) for v in rng.integers(radius, SIDE - radius, 2))
        color = tuple(int(v) for v in rng.integers(110, 256, 3))
        _shape(ImageDraw.Draw(image), kind, x, y, radius, color)
        _shape(ImageDraw.Draw(mask), kind, x, y, radius, kind)
    return image, mask


def _shape(draw: ImageDraw.ImageDraw, kind: int, x: int, y: int, radius: int, fill: int | tuple[int, ...]) -> None:
    box = (x - radius, y - radius, x + radius, y + radius)
    if kind == 1:
        draw.ellipse(box, fill=fill)
    elif kind == 2:
        draw.rectangle(box, fill=fill)
    else:
        draw.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=fill)
