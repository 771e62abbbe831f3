"""How near the edges of cut-outs are to labels and to known opacities: hard, soft, filtered as formerly, and as served.

    python -m benchmarks.studies.cutout --composites
    python -m benchmarks.studies.cutout --voc data/voc2012-animals --every 3
    python -m benchmarks.studies.cutout --sheet sheet.png docs/photos/*.jpg
    python -m benchmarks.studies.cutout --parts parts.png docs/photos/*.jpg

The first measures drawn subjects over drawn grounds, and over photos if `--grounds` names a folder; the second compares with
labels. Both write `docs/cutout.json`, from which `benchmarks.studies.documents` makes the page. The third makes a sheet of
photos, each cut out with a hard edge and with the served one; the fourth shows the softest part of each at 300 %.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from benchmarks.studies.composite_edges import composite_errors, table
from benchmarks.studies.composites import composites
from benchmarks.studies.documents import DOCS, PUBLISHED, load
from benchmarks.studies.former_filter import former_opacity
from benchmarks.studies.large_parts import large_part, stack
from imaging.decoding import decode
from imaging.rendering import Rendering
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.scaling import Side
from model.inference.segmenter import Segmenter
from model.weights_file import find_files
from training.data.label_files import find_labels
from training.data.split import Split
from training.reporting.machine import commit, machine
from training.survey.datasets import get_split

Mask = npt.NDArray[np.bool_]
Opacity = npt.NDArray[np.float64]
BANDS = (4, 8, 16)  # pixels on each side of the labels' borders
SIDES: tuple[Side, ...] = ("auto", 160)  # 160: cells as coarse as in photos of three times the size
SHEET_WIDTH, GREEN, COLUMNS = 380, (60, 190, 120), 2


def main() -> int:
    parser = argparse.ArgumentParser("benchmarks.studies.cutout", description="Edges of cut-outs against labels.")
    parser.add_argument("--voc", type=Path, help="the data set: its val split is measured")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="measure one frame of N (default: all)")
    parser.add_argument("--composites", action="store_true", help="measure drawn photos of known opacity")
    parser.add_argument("--grounds", type=Path, metavar="FOLDER", help="photos that are grounds of composites, too")
    parser.add_argument("--sheet", type=Path, help="the picture to write")
    parser.add_argument("--parts", type=Path, help="the picture of large parts to write")
    parser.add_argument("photos", nargs="*", type=Path, help="photos for the pictures")
    args = parser.parse_args()
    if args.composites:
        errors_of_composites = composite_errors(composites(args.grounds))
        print(table(errors_of_composites))
        if not args.grounds:
            write({"composites": errors_of_composites})
    if not (args.sheet or args.parts or args.voc):
        return 0
    segmenter = Segmenter(load_runtime(find_files(next(iter(PUBLISHED))), device="cpu", precision="float32"))
    if args.sheet:
        sheet([pair(segmenter, path.read_bytes()) for path in args.photos]).save(args.sheet)
    if args.parts:
        stack([large_part(segmenter, path.read_bytes()) for path in args.photos]).save(args.parts)
    if args.voc:
        split = get_split(args.voc, "val", find_labels("voc", args.voc))
        frames = range(0, len(split.frames), args.every)
        sides = {str(side): errors(edges(segmenter, split, frames, side)) for side in SIDES}
        facts = {"machine": machine(), "commit": commit(), "precision": segmenter.identity["precision"]}
        report = facts | {"frames": len(frames), "bands": BANDS, "sides": sides}
        write(report)
    return 0


def write(facts: Mapping[str, Any]) -> None:
    """Replaces these facts in `docs/cutout.json`."""
    (DOCS / "cutout.json").write_text(json.dumps(load("cutout") | facts, indent=1) + "\n")


def edges(
    segmenter: Segmenter, split: Split, frames: Iterable[int], side: Side
) -> Iterator[tuple[Mask, Mask, dict[str, Opacity]]]:
    """For each of these frames: where the labels have an object, where they say anything, and the opacities by kind of edge."""
    for index in frames:
        data, truth = split.file(index), split.mask(index)
        options = Options(side=side, rendering=Rendering("cutout"))
        plan = segmenter.plan(data, options)
        segmentation = segmenter.infer(segmenter.decode(data, plan), plan)
        assert segmentation.foreground is not None
        inside = np.isin(segmentation.class_map, list(options.rendering.class_ids(segmenter.manifest.labels.classes)))
        cell = segmenter.runtime.stride * max(plan.size) / max(plan.tile_plan.size)
        former = former_opacity(decode(data, segmenter.limits), inside, segmentation.foreground, cell)
        with Image.open(io.BytesIO(segmenter.segment(data, plan).body)) as image:
            alpha = np.asarray(image.getchannel("A"))
        is_labelled = truth < len(split.labels)
        yield (
            (truth > 0) & is_labelled,
            is_labelled,
            {
                "hard": (segmentation.class_map > 0).astype(np.float64),
                "soft": segmentation.foreground.astype(np.float64) / 255,
                "former": former.astype(np.float64) / 255,
                "refined": alpha.astype(np.float64) / 255,
            },
        )


def errors(frames: Iterator[tuple[Mask, Mask, dict[str, Opacity]]]) -> dict[str, dict[str, list[float]]]:
    """For each kind of edge, by band: mean absolute and mean squared error of the opacity, and the share of wrong pixels.

    Only labelled pixels of the bands count; every pixel counts the same. A pixel is wrong if its opacity is above 0.5 outside
    of the objects, or below it inside.
    """
    sums: dict[str, npt.NDArray[np.float64]] = {}
    pixels = np.zeros(len(BANDS))
    for inside, is_labelled, opacities in frames:
        bands = [near_border(inside, is_labelled, reach) for reach in BANDS]
        pixels += [band.sum() for band in bands]
        for kind, opacity in opacities.items():
            error = np.abs(opacity - inside)
            values = [[error[band].sum(), (error[band] ** 2).sum(), (error[band] > 0.5).sum()] for band in bands]
            sums[kind] = sums.get(kind, 0) + np.array(values)
    names = ("absolute", "squared", "wrong")
    return {
        kind: {name: (total[:, column] / pixels).round(4).tolist() for column, name in enumerate(names)}
        for kind, total in sums.items()
    }


def near_border(inside: Mask, is_labelled: Mask, reach: int) -> Mask:
    """Labelled pixels within `reach` (Chebyshev distance) of both an object and the rest, void included with either."""
    rest = is_labelled & ~inside
    return is_labelled & _grown(inside | ~is_labelled, reach) & _grown(rest | ~is_labelled, reach)


def _grown(mask: Mask, reach: int) -> Mask:
    image = Image.fromarray(mask.astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.MaxFilter(2 * reach + 1))).astype(bool)


def pair(segmenter: Segmenter, data: bytes) -> Image.Image:
    """A photo before green: with a hard edge, and cut out as served."""
    photo, pictures = Image.fromarray(decode(data, segmenter.limits)), []
    for opacity in (answer(segmenter, data, "binary"), answer(segmenter, data, "cutout").getchannel("A")):
        picture = Image.new("RGB", photo.size, GREEN)
        picture.paste(photo, mask=opacity)
        pictures.append(picture.resize((SHEET_WIDTH, round(SHEET_WIDTH * photo.height / photo.width))))
    both = Image.new("RGB", (2 * SHEET_WIDTH, pictures[0].height))
    for index, picture in enumerate(pictures):
        both.paste(picture, (index * SHEET_WIDTH, 0))
    return both


def answer(segmenter: Segmenter, data: bytes, format: Any, **parameters: Any) -> Image.Image:
    plan = segmenter.plan(data, Options(rendering=Rendering(format, **parameters)))
    return Image.open(io.BytesIO(segmenter.segment(data, plan).body))


def sheet(pairs: Sequence[Image.Image]) -> Image.Image:
    """The pairs in two columns."""
    gap = 10
    rows = [pairs[start : start + COLUMNS] for start in range(0, len(pairs), COLUMNS)]
    heights = [max(picture.height for picture in row) + gap for row in rows]
    result = Image.new("RGB", (COLUMNS * (2 * SHEET_WIDTH + gap) - gap, sum(heights) - gap), "white")
    for row, top in zip(rows, np.cumsum([0, *heights[:-1]]).tolist(), strict=True):
        for column, picture in enumerate(row):
            result.paste(picture, (column * (2 * SHEET_WIDTH + gap), top))
    return result


if __name__ == "__main__":
    sys.exit(main())
