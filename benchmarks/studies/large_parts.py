"""Parts of cut-outs at 300 %, on white: as the photo is, with the former edge and with the served one."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.studies.former_filter import former_opacity
from imaging.decoding import decode
from imaging.rendering import Rendering
from model.inference.plan import Options
from model.inference.segmenter import Segmenter

PART = (110, 150)  # height and width, in pixels of the photo
ZOOM, GAP = 3, 6


def large_part(segmenter: Segmenter, data: bytes) -> Image.Image:
    """The part of a photo with most soft pixels, at 300 %: as it is, and on white with the former and with the served edge."""
    options = Options(rendering=Rendering("cutout"))
    plan = segmenter.plan(data, options)
    segmentation = segmenter.infer(segmenter.decode(data, plan), plan)
    assert segmentation.foreground is not None
    inside = np.isin(segmentation.class_map, list(options.rendering.class_ids(segmenter.manifest.labels.classes)))
    photo, cell = decode(data, segmenter.limits), segmenter.runtime.stride * max(plan.size) / max(plan.tile_plan.size)
    former = Image.fromarray(photo)
    former.putalpha(Image.fromarray(former_opacity(photo, inside, segmentation.foreground, cell)))
    with Image.open(io.BytesIO(segmenter.segment(data, plan).body)) as cutout:
        box = softest(np.asarray(cutout.getchannel("A")))
        parts = [picture.convert("RGBA").crop(box) for picture in (Image.fromarray(photo), former, cutout)]
    result = Image.new("RGB", (len(parts) * ZOOM * PART[1], ZOOM * PART[0]), "white")
    for index, part in enumerate(parts):
        large = part.resize((ZOOM * part.width, ZOOM * part.height), Image.Resampling.NEAREST)
        result.paste(large, (index * ZOOM * PART[1], 0), large)
    return result


def softest(opacity: npt.NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part, at most `PART`, with most soft pixels."""
    height, width = (min(side, most) for side, most in zip(opacity.shape, PART, strict=True))
    soft = np.pad(((opacity > 8) & (opacity < 247)).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = soft[height:, width:] - soft[:-height, width:] - soft[height:, :-width] + soft[:-height, :-width]
    top, left = (int(place) for place in np.unravel_index(sums.argmax(), sums.shape))
    return left, top, left + width, top + height


def stack(rows: Sequence[Image.Image]) -> Image.Image:
    """The rows below one another, with a grey line between."""
    result = Image.new("RGB", (max(row.width for row in rows), sum(row.height + GAP for row in rows) - GAP), "grey")
    top = 0
    for row in rows:
        result.paste(row, (0, top))
        top += row.height + GAP
    return result
