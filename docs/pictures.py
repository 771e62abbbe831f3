"""Draws the README's picture: each photo of `docs/photos` beside its segmentation by the default weights."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from imaging.rendering import Rendering
from model.inference.loading import load_runtime
from model.inference.segmenter import Options, Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_files

DOCS = Path(__file__).parent
PHOTOS = ("chelsea", "astronaut")
HEIGHT, GAP = 260, 6


def main() -> None:
    segmenter = Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), device="cpu", precision="float32"))
    options = Options(rendering=Rendering("overlay", alpha=0.65))
    pieces = []
    for name in PHOTOS:
        data = (DOCS / "photos" / f"{name}.jpg").read_bytes()
        pieces += [_scaled(data), _scaled(segmenter.segment(data, segmenter.plan(data, options)).body)]
    sheet = Image.new("RGB", (sum(p.width + GAP for p in pieces) - GAP, HEIGHT), "white")
    left = 0
    for piece in pieces:
        sheet.paste(piece, (left, 0))
        left += piece.width + GAP
    sheet.save(DOCS / "segmentation.png", optimize=True)


def _scaled(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return image.resize((round(image.width * HEIGHT / image.height), HEIGHT), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
