"""Compares what is served, on whole pictures, with the original network on the same pictures, and finds what raises it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from common.arrays import Ids, Pixels, Size
from imaging.decoding import scale
from model.imported_network import Whole
from model.inference.merging import Band
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.inference.upsampling import LogitsUpsampler
from training.converting.cost import whole_sides
from training.converting.endings import Ending
from training.converting.graph import ConversionError, RunError, reason
from training.converting.outputs import NetworkOutput
from training.converting.proof import LEAST_AGREEMENT, original_logits
from training.converting.reach import describe_reach
from training.converting.samples import Original

SHAPES: tuple[Size, ...] = ((333, 500), (483, 648), (960, 1280))
"""(height, width) of the pictures beside tiles of `TILE`: smaller than a tile, of odd sides, larger than a tile."""
TILE = 512
Make = Callable[[], Segmenter]
LEAST_SHARE = 0.01  # of a picture


def compare_whole(
    segmenter: Segmenter, as_whole: Make, ending: Ending, photographs: Sequence[Pixels], tell: Callable[[str], None]
) -> None:
    """Tells how much of the network's own classes is served on whole pictures, which options give more, and why not all.

    The network's own classes are those that it gives for the whole picture as it is; if it takes no such sides, for the picture
    extended to the least that it takes, cut afterwards. What is served is what `segmenter` gives with default options.
    as_whole: gives the same network converted with `--tile whole`.
    """
    original, output, how = ending.original, ending.whole or ending.output, segmenter.manifest.whole
    whole, longer = (
        whole_sides(original, output, how.pad if how else "zero"),
        max(segmenter.manifest.preprocessing.tile),
    )
    lowest = 1.0
    for index, shape in enumerate(SHAPES):
        height, width = (side * longer // TILE | side % 2 for side in shape)
        try:
            picture = scale(photographs[index % len(photographs)], (height, width))
            own = own_classes(original, output, picture, whole, len(segmenter.labels))
            agreement, worst = _compare(segmenter, picture, own, Options())
            advice = _advice(segmenter, as_whole, picture, own, agreement) if agreement < LEAST_AGREEMENT else ""
        except (MemoryError, RuntimeError, ValueError) as error:  # which of them says that memory ran out, no library promises
            tell(f"photos  a photo of {width}x{height} is not compared: {reason(error)}")
            continue
        lowest = min(lowest, agreement)
        tell(f"photos  {agreement:.4f} of the network's own classes on a photo of {width}x{height} (worst: {worst}){advice}")
    if lowest < LEAST_AGREEMENT and not how and (reach := describe_reach(original, whole.multiple)):
        tell(f"        the network looks at the whole image ({reach}), and a tile is a part of it")


def own_classes(original: Original, output: NetworkOutput, picture: Pixels, whole: Whole, classes: int) -> Ids:
    """The ids (height, width) that the network itself gives for a picture. Raises `ConversionError` if it fails."""
    (height, width), sides = picture.shape[:2], original.input.sides
    extent = whole.extended((height, width))
    size = sides[0] or extent[0], sides[1] or extent[1]
    if size[0] < height or size[1] < width:
        raise ConversionError(f"the network takes {original.input.size} alone, so it has no classes of its own there")
    logits = original_logits(original, output, picture, classes, size, whole.pad)
    cells = logits.shape[1:]
    if (cells[0] * output.stride, cells[1] * output.stride) != size:
        raise RunError(f"the network gives {cells[1]}x{cells[0]} cells for {size[1]}x{size[0]} pixels")
    upsampler = LogitsUpsampler(cells, output.stride, output.grid, size, size)
    rows = upsampler.push(Band(0, np.ascontiguousarray(logits.transpose(1, 2, 0))))
    return np.concatenate([each.class_ids() for each in rows])[:height, :width]


def _compare(segmenter: Segmenter, picture: Pixels, own: Ids, options: Options) -> tuple[float, str]:
    """The share of pixels that are served with the network's own class, and the class whose IoU is lowest, in words.

    Of the classes that have at least `LEAST_SHARE` of the picture.
    """
    class_map, counts, ious = segmenter(picture, options).class_map, np.bincount(own.ravel()), list[tuple[float, str]]()
    for class_id in np.flatnonzero(counts >= min(LEAST_SHARE * own.size, counts.max())):
        ours, theirs = class_map == class_id, own == class_id
        ious.append((float((ours & theirs).sum() / (ours | theirs).sum()), segmenter.labels.names[class_id]))
    iou, name = min(ious)
    return float((class_map == own).mean()), f"{name}, IoU {iou:.3f}"


def _advice(segmenter: Segmenter, as_whole: Make, picture: Pixels, own: Ids, agreement: float) -> str:
    """The options of this command with which more is served than `agreement`, by trying each; empty without any."""
    (low, high), (height, width), manifest = segmenter.manifest.preprocessing.side, own.shape, segmenter.manifest
    is_scaled = not low <= max(height, width) <= high
    side = f" --side {min(low, height, width)},{max(high, height, width)}" * is_scaled
    trials: dict[str, Make] = {side: lambda: segmenter} if is_scaled else {}
    if manifest.largest_tile is None and not manifest.whole:
        trials[f"{side} --tile whole"] = as_whole
    best = ""
    for words, segmenter_of_trial in trials.items():
        if agreement < LEAST_AGREEMENT:
            with suppress(MemoryError, RuntimeError, ValueError):  # as where a whole photo takes too much memory
                result, _ = _compare(segmenter_of_trial(), picture, own, Options(side="native"))
                if result > agreement:
                    best, agreement = words, result
    return f":{best} gives {agreement:.4f}" if best else "; no other tile and no other side give more"
