"""Draws the README's pictures: photos of `docs/photos` beside their overlays by the default weights.

`python -m docs.pictures` writes them to `docs/`.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from PIL import Image

from imaging.rendering import Rendering
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_files

DOCS = Path(__file__).parent
PICTURES = {"segmentation.jpg": ("cows", "dog"), "failure.jpg": ("coffee",)}
HEIGHT, GAP = 330, 6


def main(folder: Path = DOCS) -> None:
    segmenter = Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), device="cpu", precision="float32"))
    options = Options(rendering=Rendering("overlay"))
    for file, photos in PICTURES.items():
        pictures = []
        for name in photos:
            data = (DOCS / "photos" / f"{name}.jpg").read_bytes()
            pictures += [_resize(data), _resize(segmenter.segment(data, segmenter.plan(data, options)).body)]
        sheet([pictures], GAP).save(folder / file, quality=88, optimize=True)


def _resize(data: bytes) -> Image.Image:
    """The picture with the height `HEIGHT`."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return image.resize((round(image.width * HEIGHT / image.height), HEIGHT), Image.Resampling.LANCZOS)


def sheet(rows: Sequence[Sequence[Image.Image]], gap: int) -> Image.Image:
    """Rows of pictures, on white. gap: pixels between two of them."""
    tops = [0, *accumulate(max(picture.height for picture in row) + gap for row in rows)]
    lefts = [[0, *accumulate(picture.width + gap for picture in row)] for row in rows]
    whole = Image.new("RGB", (max(each[-1] for each in lefts) - gap, tops[-1] - gap), "white")
    for index, row in enumerate(rows):
        for left, picture in zip(lefts[index], row, strict=False):
            whole.paste(picture, (left, tops[index]))
    return whole


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
