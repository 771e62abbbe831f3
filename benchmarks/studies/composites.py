"""Photos whose opacity is known: drawn subjects over drawn grounds, as JPEGs, and what a coarse network could say of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from imaging.decoding import IMAGE_ENDINGS

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float64]
HEIGHT, WIDTH = 480, 640
FINER = 4  # subjects are drawn this many times larger, and then reduced
CELL = 16  # pixels that a cell of the network covers along an axis
SEEN = 0.3  # opacity from which a network sees the subject
QUALITIES = (None, 90, 75, 60)  # of the JPEGs; None: no JPEG
ORIGINS = ((0, 0), (3, 5), (6, 2), (1, 4))  # columns and rows of the JPEG that are cut away from the photo's left and top
BLOCK = 8  # pixels along a side of a JPEG's blocks
SUBJECTS = ("sharp", "fur", "hair", "glass")
GROUNDS = ("smooth", "dark", "noisy", "busy")
TINTS = {"sharp": (176, 92, 70), "fur": (196, 160, 120), "hair": (92, 62, 44), "glass": (120, 170, 190)}
PALE = {"smooth": (206, 214, 222), "dark": (24, 26, 32), "noisy": (120, 136, 104)}


@dataclass(frozen=True)
class Composite:
    """A photo of known opacity.

    photo: uint8 (H, W, 3), as decoded. opacity: float64 (H, W), 0 to 1. colors: float64 (H, W, 3), the subject's, 0 to 255.
    foreground: uint8 (H, W), 255 x the probability that a network of cells of `CELL` pixels gives. quality: of the JPEG.
    origin: the column and row, 0 to 7, of a block of the JPEG's grid at which the photo begins.
    """

    subject: str
    ground: str
    quality: int | None
    origin: tuple[int, int]
    photo: Pixels
    opacity: Plane
    colors: Plane
    foreground: Pixels


def composites(photos: Path | None = None) -> Iterator[Composite]:
    """Each subject over each ground, in each quality, with the JPEG's grid at each of `ORIGINS`.

    photos: a folder whose photos are grounds, too.
    """
    grounds = {name: _ground(name, np.random.default_rng(seed)) for seed, name in enumerate(GROUNDS)}
    for path in sorted(photos.iterdir()) if photos else []:
        if path.suffix.lower() in IMAGE_ENDINGS:
            with Image.open(path) as image:
                grounds[path.name] = np.asarray(image.convert("RGB").resize((WIDTH, HEIGHT)), np.float64)
    for seed, subject in enumerate(SUBJECTS):
        opacity, colors = _subject(subject, np.random.default_rng(100 + seed))
        foreground = seen_by_network(opacity, CELL, np.random.default_rng(seed))
        for ground, picture in grounds.items():
            photo = np.rint(opacity[..., None] * colors + (1 - opacity[..., None]) * picture).clip(0, 255).astype(np.uint8)
            for quality, origin in product(QUALITIES, ORIGINS):
                pixels = as_jpeg(photo, quality, origin)
                yield Composite(subject, ground, quality, origin, pixels, opacity, colors, foreground)


def as_jpeg(photo: Pixels, quality: int | None, origin: tuple[int, int] = (0, 0)) -> Pixels:
    """The photo as a part of a JPEG of this quality, which begins this column and row into a block; the same photo for None."""
    if quality is None:
        return photo
    (height, width), (left, top) = photo.shape[:2], origin
    whole = np.pad(photo, ((top, -(height + top) % BLOCK), (left, -(width + left) % BLOCK), (0, 0)), "edge")
    buffer = io.BytesIO()
    Image.fromarray(whole).save(buffer, "jpeg", quality=quality)
    with Image.open(buffer) as image:
        return np.asarray(image)[top : top + height, left : left + width]


def seen_by_network(opacity: Plane, cell: int, rng: np.random.Generator) -> Pixels:
    """255 x a probability with one value for each cell, interpolated between the cells, and up to a third of a cell off."""
    height, width = opacity.shape
    is_subject = np.roll(opacity, tuple(rng.integers(-cell // 3, cell // 3 + 1, 2)), (0, 1)) > SEEN
    cells = Image.fromarray(is_subject.astype(np.uint8) * np.uint8(255)).resize(
        (width // cell, height // cell), Image.Resampling.BOX
    )
    share = np.asarray(cells.filter(ImageFilter.GaussianBlur(0.7)), np.float64) / 255
    odds = 6 * (share - 0.5) + rng.normal(0, 0.4, share.shape)
    cell_values = Image.fromarray((255 / (1 + np.exp(-odds * 1.5))).astype(np.float32))
    pixels: Pixels = np.rint(np.asarray(cell_values.resize((width, height), Image.Resampling.BILINEAR))).astype(np.uint8)
    return pixels


def _subject(name: str, rng: np.random.Generator) -> tuple[Plane, Plane]:
    """The opacity (H, W), 0 to 1, and the colours (H, W, 3), 0 to 255."""
    shape = Image.new("L", (FINER * WIDTH, FINER * HEIGHT))
    draw = ImageDraw.Draw(shape)
    outline = _outline(rng)
    strands: dict[str, Callable[[], None]] = {
        "sharp": lambda: None,
        "fur": lambda: _strands(draw, outline, rng, count=5000, length=(30, 90), width=(2, 5), spread=0.7),
        "hair": lambda: _strands(draw, outline, rng, count=420, length=(160, 420), width=(2, 4), spread=0.5),
        "glass": lambda: None,
    }
    draw.polygon(outline, fill=110 if name == "glass" else 255)
    if name == "glass":
        draw.line([*outline, outline[0]], fill=230, width=6 * FINER)
    strands[name]()
    opacity = np.asarray(shape.reduce(FINER), np.float64) / 255
    texture = _clouds(rng, 6)[..., None] * 26 + _clouds(rng, 60)[..., None] * 14 + rng.normal(0, 3, (HEIGHT, WIDTH, 1))
    colors: Plane = (np.array(TINTS[name], np.float64) + texture).clip(0, 255)
    return opacity, colors


def _outline(rng: np.random.Generator) -> list[tuple[float, float]]:
    """A closed curve around the middle, at the size of the drawing."""
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    radius = np.full_like(angles, 0.3)
    for waves in (2, 3, 5, 9):
        radius += 0.1 / waves * np.sin(waves * angles + rng.uniform(0, 2 * np.pi))
    scale = FINER * HEIGHT
    x, y = scale * (radius * np.cos(angles) + 0.5 * WIDTH / HEIGHT), scale * (radius * np.sin(angles) + 0.5)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _strands(
    draw: ImageDraw.ImageDraw,
    outline: list[tuple[float, float]],
    rng: np.random.Generator,
    *,
    count: int,
    length: tuple[int, int],
    width: tuple[int, int],
    spread: float,
) -> None:
    """Bent lines that grow outward from an outline. length, width: their ranges, in pixels of the drawing."""
    centre = np.array([FINER * WIDTH / 2, FINER * HEIGHT / 2])
    for index in rng.integers(0, len(outline), count):
        at = np.array(outline[index])
        angle = np.arctan2(*(at - centre)[::-1]) + rng.normal(0, spread)
        bend, points = rng.normal(0, 0.12), [tuple(at - 6 * np.array([np.cos(angle), np.sin(angle)]))]
        for _ in range(8):
            at = at + rng.uniform(*length) / 8 * np.array([np.cos(angle), np.sin(angle)])
            angle += bend
            points.append(tuple(at))
        draw.line(points, fill=255, width=int(rng.integers(*width)))


def _ground(name: str, rng: np.random.Generator) -> Plane:
    """A ground, float64 (H, W, 3), 0 to 255."""
    if name == "busy":
        return _leaves(rng)
    picture = np.array(PALE[name], np.float64) + 16 * _clouds(rng, 2)[..., None]
    noise = {"smooth": 1, "dark": 1.5, "noisy": 14}[name]
    return np.asarray((picture + rng.normal(0, noise, (HEIGHT, WIDTH, 3))).clip(0, 255))


def _leaves(rng: np.random.Generator) -> Plane:
    """Overlapping ellipses of many sizes and colours."""
    image = Image.new("RGB", (WIDTH, HEIGHT), (90, 110, 80))
    draw = ImageDraw.Draw(image)
    for size in np.geomspace(160, 6, 1500):
        x, y = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT)
        color = tuple(int(value) for value in rng.normal((110, 120, 90), (45, 45, 40)).clip(0, 255))
        draw.ellipse((x, y, x + size * rng.uniform(0.4, 1), y + size * rng.uniform(0.4, 1)), fill=color)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)), np.float64)


def _clouds(rng: np.random.Generator, count: int) -> Plane:
    """Smooth noise of mean 0 and deviation 1, with this many waves along the image."""
    small = Image.fromarray(rng.normal(0, 1, (count + 2, count + 2)).astype(np.float32))
    large = np.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float64)
    return np.asarray((large - large.mean()) / large.std())
