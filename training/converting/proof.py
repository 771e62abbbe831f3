"""Compares a converted file, as it is served, with the network that another program has exported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from common.arrays import Pixels, Size
from model.imported_network import Pad
from model.inference.plan import Options
from model.inference.runtime import Runtime
from model.inference.segmenter import Segmenter
from training.converting.graph import ConversionError
from training.converting.outputs import NetworkOutput, channels_first, to_logits
from training.converting.samples import Array, Original
from training.converting.wrapping import UNIT

LEAST_AGREEMENT = 0.999
ODD_SHARE = 0.7  # of a photograph's sides, made odd


@dataclass(frozen=True)
class Proof:
    """How the converted file compares with the original.

    agreement: the share of cells, or of pixels where the file ends before its resize, that have the same class.
    classes: the number of different classes that the original shows. largest_difference: of logits; None where pixels' classes
    or ids are compared. of_ids: whether the original gives ids.
    """

    pictures: int
    classes: int
    agreement: float
    largest_difference: float | None
    of_ids: bool

    def describe(self) -> str:
        difference = "" if self.largest_difference is None else f", logits differ by at most {self.largest_difference:.3g}"
        where = f"on {self.pictures} pictures that show {self.classes} class{'es' * (self.classes != 1)}"
        return f"{self.agreement:.5f} of the {'ids' if self.of_ids else 'classes'} are the original's, {where}{difference}"


def prove(
    runtime: Runtime, original: Original, output: NetworkOutput, *, whole: NetworkOutput | None, photographs: Iterable[Pixels]
) -> Proof:
    """Compares a converted file with the original on photographs, in one tile each, and on parts of them with odd sides.

    output: what the converted file ends with. whole: the original's own output, where the file ends before it; else None.
    """
    equal = total = pictures = 0
    class_ids: set[int] = set()
    largest, sides, own_whole = 0.0, original.input.sides, runtime.manifest.whole
    for picture in _pictures(photographs, runtime.manifest.preprocessing.tile):
        pictures += 1
        height, width = picture.shape[:2]
        plan = Segmenter(runtime).plan_size((height, width), Options(side="native")).tile_plan
        tile = plan.cut(picture, 0, 0)  # extended as the service extends it
        size, pad = plan.tile, own_whole.pad if own_whole else "edge"
        if not own_whole:
            multiple = max(output.multiple, UNIT)
            rows, columns = (side or -(-length // multiple) * multiple for side, length in zip(sides, size, strict=True))
            size = rows, columns
        theirs = original_logits(original, whole or output, tile, len(runtime.manifest.labels), size, pad)
        if whole is None or whole.stride == output.stride:
            ours = runtime.logits([tile])[0]
            theirs = theirs[:, : ours.shape[1], : ours.shape[2]]
            largest = max(largest, float(np.abs(ours - theirs).max()) if whole is None else 0)
            classes, our_classes = theirs.argmax(0), ours.argmax(0)
        else:
            classes = theirs.argmax(0)[:height, :width]
            our_classes = Segmenter(runtime)(picture, Options(side="native")).class_map
        class_ids.update(np.unique(classes).tolist())
        equal, total = equal + int((our_classes == classes).sum()), total + classes.size
    if not pictures:
        raise ConversionError("there are no photographs to compare on; give a folder of some: --photos FOLDER")
    of_ids = (whole or output).kind == "class_ids"
    return Proof(pictures, len(class_ids), equal / total, None if whole or of_ids else largest, of_ids)


def _pictures(photographs: Iterable[Pixels], tile: Size) -> Iterator[Pixels]:
    """The upper left corner of each photograph that fits into a tile, and a smaller one with odd sides."""
    for photograph in photographs:
        corner = np.ascontiguousarray(photograph[: tile[0], : tile[1]])
        yield corner
        height, width = (int(side * ODD_SHARE) | 1 for side in corner.shape[:2])
        yield np.ascontiguousarray(corner[:height, :width])


def original_logits(
    original: Original, output: NetworkOutput, pixels: Pixels, classes: int, size: Size, pad: Pad = "zero"
) -> Array:
    """The logits (classes, rows, columns) that an output of the original means, for pixels as `Original` takes them."""
    values = channels_first(original(pixels, size, pad)[output.name], output.layout)
    if not np.isfinite(values).all():
        raise ConversionError("the network gives values that are not finite, on a photograph")
    return to_logits(output.unscaled(values), output.kind, classes)
