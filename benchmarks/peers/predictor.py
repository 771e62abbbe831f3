"""What the frameworks serve: our predictor between an image's bytes and a mask's.

All of `model/` is lent to them: scaling, tiles, network, merging, argmax. Around it stands Pillow, as in the frameworks'
own examples with images; or, on demand, our decoding and encoding.
"""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage
from torch import Tensor

from benchmarks.peers import IMAGING
from imaging.decoding import Limits, decode, read_size
from imaging.encoding import mask_png
from model.predictor import Predictor
from model.scaling import resize_image
from model.segmentation import ClassMap, Image, Options, plan_image, run_in_batches, segment
from model.tiling import Size, TilePlan
from model.weights_file import DEFAULT_WEIGHTS, find_weights, load_weights

# A batch spares a CPU nothing but each call's overhead, and its first image waits for its last; while a small one is
# worked on, the requests that come are left to the other worker. Every framework calls the best size a matter of trial.
BATCH = 4
WAIT_S = 0.01  # for a batch to fill: little beside the network's time for one image


@dataclass(frozen=True)
class Decoded:
    """An image, perhaps reduced, with the (height, width) of its file and its tiles."""

    image: Image
    size: Size
    plan: TilePlan


class Model:
    """The default weights, loaded and warm, with the service's default options."""

    def __init__(self) -> None:
        self.predictor = Predictor(load_weights(find_weights(DEFAULT_WEIGHTS)))
        self.options = Options()
        self.limits = Limits()
        self.imaging = IMAGING in os.environ
        self.predictor.warm_up(self.options.tile)

    def decode(self, data: bytes) -> Decoded:
        """Raises what Pillow raises, or `ImageError`."""
        if self.imaging:
            size = read_size(data, self.limits)
            plan = self._plan(size)
            return Decoded(decode(data, self.limits, plan.size), size, plan)
        image = np.array(PillowImage.open(io.BytesIO(data)).convert("RGB"))
        size = (image.shape[0], image.shape[1])
        return Decoded(image, size, self._plan(size))

    def _plan(self, size: Size) -> TilePlan:
        return plan_image(size, self.options, self.predictor.manifest.preprocessing.side)

    def predict(self, batch: Sequence[Decoded]) -> list[ClassMap]:
        """The images' class maps; tiles of one shape go through the network together, whichever image they are of."""
        images = [resize_image(item.image, item.plan.size) for item in batch]
        shapes: dict[Size, list[int]] = {}
        for index, item in enumerate(batch):
            shapes.setdefault(item.plan.tile, []).append(index)
        logits: dict[int, list[Tensor]] = {}
        for indices in shapes.values():
            results = run_in_batches(self.predictor)(_tiles(images, batch, indices))
            for index in indices:
                logits[index] = [next(results) for _ in range(len(batch[index].plan))]
        return [self._class_map(images[index], item, logits[index]) for index, item in enumerate(batch)]

    def _class_map(self, image: Image, item: Decoded, logits: Sequence[Tensor]) -> ClassMap:
        return segment(
            image, item.plan, lambda _: iter(logits), num_classes=len(self.predictor.manifest.labels),
            grid=self.predictor.grid, size=item.size,
        ).class_map  # fmt: skip

    def encode(self, class_map: ClassMap) -> bytes:
        palette = self.predictor.manifest.labels.palette
        if self.imaging:
            return mask_png(class_map, palette)
        mask, buffer = PillowImage.fromarray(class_map), io.BytesIO()
        mask.putpalette(np.asarray(palette, np.uint8).tobytes())
        mask.save(buffer, "PNG")
        return buffer.getvalue()


def _tiles(images: Sequence[Image], batch: Sequence[Decoded], indices: Sequence[int]) -> Iterator[Image]:
    for index in indices:
        plan = batch[index].plan
        for region in plan.regions:
            yield plan.cut(images[index], region)


def port() -> int:
    """The port that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    number: int = parser.parse_args().port
    return number
