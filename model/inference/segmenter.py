"""`Segmenter`: from an image file's bytes to the answer's bytes.

The steps are plan, decode, cut into tiles, run the network, merge, argmax, encode. The service's workers, the command line,
`fcn-evaluate` and other servers each hold a `Segmenter`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from common.arrays import Pixels, Size
from imaging.answer import Segmentation, SegmentedImage
from imaging.classes import VOID
from imaging.conversion import UPRIGHT, upright_array
from imaging.decoding import Limits, OpenImage, scale
from imaging.errors import ImageTooLarge
from imaging.georeferenced import load
from imaging.rendering import Rendering
from model.imported_network import FIRST_PHOTO, Whole
from model.inference.merging import Band, BandMerger, Logits
from model.inference.plan import Options, Output, Plan
from model.inference.runtime import Runtime, Tile, most_tiles
from model.inference.scaling import SideError, check_scene_side, check_side, working_size
from model.inference.segmentation import SegmentationBuilder, require_confidence
from model.inference.small_regions import small_region_bytes, without_small_regions
from model.inference.tiling import WHOLE, TilePlan, TilingError, photo_shapes, plan_tiles
from model.inference.upsampling import LogitsUpsampler, Rows, band_bytes
from model.inference.views import View, ViewAverage, average_bytes, plan_views
from model.labels import LabelSet
from model.weights_file import DEFAULT_WEIGHTS, find_files

if TYPE_CHECKING:
    from imaging.georeferenced.whole import OpenScene

Run = Callable[[Iterator[Tile]], Iterator[Logits]]
"""Maps uint8 tiles (height, width, bands) of one shape to their logits (classes, height / stride, width / stride), in order."""
MODES_WITHOUT_RANGE = ("I", "F")
BATCH = 8  # most tiles in a call of `run`
WARM_UPS = 3  # of a network that takes whole photos, of which the fastest counts


class Segmenter:
    """Segments images with one network. It holds no state of a request, so several threads may call it at once."""

    def __init__(self, runtime: Runtime, limits: Limits | None = None) -> None:
        self.runtime = runtime
        self.manifest = runtime.manifest
        self.limits = limits or Limits()

    @classmethod
    def from_weights(
        cls, weights: str | Path = DEFAULT_WEIGHTS, device: str = "auto", *, precision: str = "auto", threads: int = 0
    ) -> Segmenter:
        """A segmenter for a weights file, or for a name in `weights/`, on the runtime that suits this machine.

        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`. threads: of a CPU, 0 for one per core. Raises `WeightsError` or
        `RuntimeUnavailable`.
        """
        from model.inference.loading import load_runtime  # not in workers, whose network runs in another process

        return cls(load_runtime(find_files(str(weights)), device=device, precision=precision, threads=threads))

    def __repr__(self) -> str:
        facts = self.runtime.identity
        return f"<Segmenter {facts.name}: {len(self.labels)} classes, {facts.runtime} {facts.precision}>"

    @property
    def labels(self) -> LabelSet:
        """The classes, whose ids are the values of class maps, and their colours."""
        return self.manifest.labels

    def __call__(self, image: bytes | str | Path | Image.Image | Pixels, options: Options | None = None) -> Segmentation:
        """Segments an image: an image file's bytes or path, a Pillow image, or upright pixels, uint8 (H, W, bands).

        The class map has the size of the upright image, or of its answer within `width` and `height`. A Pillow image is taken
        as it is: its EXIF orientation is not applied. Its transparent pixels lie over white. Ask for `Rendering("confidence")`
        in the options to get confidence. Raises `ValueError` for other arrays and for modes that have no value for white, and
        what `plan`, `decode` and `infer` raise.
        """
        options = options or Options()
        if isinstance(image, Image.Image):
            if image.mode in MODES_WITHOUT_RANGE:
                raise ValueError(f"mode {image.mode} does not say which value is white; convert the image to L or RGB")
            image = upright_array(image.copy(), UPRIGHT)
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != self.channels or not image.size:
                bands = f"(H, W, {self.channels}), {', '.join(self.manifest.preprocessing.bands)}"
                raise ValueError(f"pixels must be uint8 {bands}, got {image.dtype} {image.shape}; convert the array")
            options.check()
            plan = self.plan_size((image.shape[0], image.shape[1]), options)
            return self.infer(scale(image, plan.tile_plan.size), plan)
        data = image if isinstance(image, bytes) else Path(image).read_bytes()
        plan = self.plan(data, options)
        return self.infer(self.decode(data, plan), plan)

    def prepare(self, options: Options) -> None:
        """Imports what these options need and others do not. Raises `UnknownImageType` if it is not installed."""
        if self.reads_scene(options.rendering):
            load()

    def plan(self, data: bytes, options: Options) -> Plan:
        """The plan for an image file, from its header alone. It keeps the opened file, for one thread's `segment`.

        If the weights record the size on the ground of the pixels that the network learned from, `side=auto` scales a scene to
        that size. The plan's options then have the side in pixels.

        Raises `ValueError` for options that a request may not have, an `ImageError`, `AnswerTooLarge`, `WrongParameter`,
        `SideError` or `TilingError`.
        """
        options.check()
        image = self._open(data, options.rendering)
        options.rendering.check(image.size)
        options.rendering.class_ids(self.manifest.labels.classes)  # raises for a class that the model lacks
        require_confidence(self.runtime, options.rendering)
        gsd = self.manifest.preprocessing.gsd if options.side == "auto" else None
        if gsd is None or isinstance(image, OpenImage):
            return replace(self.plan_size(image.size, options), image=image)
        try:
            options = replace(options, side=check_scene_side(image.size, image.longer_side(gsd)))
            return replace(self.plan_size(image.size, options), image=image)
        except SideError as error:
            words = f"the network learned from pixels of {gsd:.3g} m on the ground, and {error}"
            raise SideError(f"{words}, or give side=native for the scene's own pixels") from error

    def plan_size(self, size: Size, options: Options) -> Plan:
        """The plan for an upright image of this (height, width).

        Raises `SideError`, `TilingError`, or `ImageTooLarge` where the network takes it as a whole, and it has too many pixels.
        """
        advised_range, quality = self.manifest.preprocessing.side, options.quality
        tile = self._whole(options.tile) or self.tile(options.tile)

        def plan(size: Size) -> TilePlan:
            if isinstance(tile, Whole):
                return TilePlan(size, tile.extended(size), (0,), (0,), 0.0, "mean", is_whole=True)
            return plan_tiles(size, tile, options.overlap, options.blend)

        views = plan_views(working_size(size, options.side, advised_range), quality, plan)
        largest = views[0].tile_plan.size
        check_side(options.side, size, largest, advised_range=advised_range, quality=quality, megapixels=self.limits.megapixels)
        if isinstance(tile, Whole) and (pixels := prod(views[0].tile_plan.tile)) > tile.most_pixels:
            most, name = tile.most_pixels / 1e6, self.runtime.identity.name
            raise ImageTooLarge(
                f"{name} takes each photo as a whole, of at most {most:.2f} megapixels, and this one would have "
                f"{pixels / 1e6:.2f}: give a smaller side, or convert the network without --tile whole"
            )
        return Plan(size, views, options)

    def memory_bytes(self, data: bytes, plan: Plan) -> int:
        """Upper bound of the memory that `segment` needs, in bytes, from the header alone.

        The file's own bytes and the memory of OpenVINO or PyTorch are not included.
        """
        rendering, tiles, stride, classes = plan.options.rendering, plan.tile_plan, self.runtime.stride, len(self.labels)
        size, photo, is_scene = plan.answer_size, rendering.needs_photo, self.reads_scene(rendering)
        maps = 1 + rendering.needs_confidence_map + rendering.needs_foreground + 2 * classes * rendering.needs_probabilities
        if is_scene:
            maps += 1  # which pixels have data
        if photo and (is_scene or size != tiles.size):
            maps += 3
        results = size[0] * size[1] * maps
        inference = self.channels * tiles.size[0] * tiles.size[1] + band_bytes(size, tiles, classes, stride)
        if len(plan.views) > 1:
            inference += average_bytes(tiles, classes, stride)
        if plan.options.replaces_regions:
            inference += small_region_bytes(size, tiles, classes, stride)
        decoding = self.open(data, plan).decoding_bytes(tiles.size, size, with_photo=photo)
        return max(decoding, results + inference, results + rendering.memory_bytes(size, classes))

    def network_cost(self, plan: Plan) -> tuple[int, float]:
        """Bytes and seconds that a photo as a whole takes in the process that runs the network; none for tiles.

        The bytes are those of the largest view, since they run one after another.
        """
        if not (whole := self.manifest.whole):
            return 0, 0.0
        costs = [whole.cost(prod(view.tile_plan.tile)) for view in plan.views]
        return costs[0][0], self.runtime.pace * sum(seconds for _, seconds in costs)

    def decode(self, data: bytes, plan: Plan) -> Pixels:
        """Pixels, uint8 (H, W, bands), of an image file at the plan's working size. Raises `DamagedImage`."""
        return self.open(data, plan).decode(plan.tile_plan.size).pixels

    def open(self, data: bytes, plan: Plan) -> OpenImage | OpenScene:
        """The file that the plan has opened, if it is of this data; else opens it. Raises an `ImageError`."""
        return plan.image if plan.image and plan.image.data is data else self._open(data, plan.options.rendering)

    def _open(self, data: bytes, rendering: Rendering) -> OpenImage | OpenScene:
        if not self.reads_scene(rendering):
            return OpenImage(data, self.limits)
        load()
        from imaging.georeferenced.whole import OpenScene

        return OpenScene(data, self.limits, self.channels, self.manifest.preprocessing.neutral)

    def reads_scene(self, rendering: Rendering) -> bool:
        """Whether image files must be georeferenced TIFFs: for answers with coordinates, or bands that photos do not have."""
        return rendering.needs_place or self.manifest.preprocessing.is_multispectral

    @property
    def channels(self) -> int:
        """The number of bands that the network sees."""
        return self.manifest.preprocessing.channels

    def segment(self, data: bytes, plan: Plan, run: Run | None = None) -> Output:
        """The answer for an image file's bytes.

        run: maps tiles to logits; by default the runtime, in the service its scheduler. Raises `DamagedImage`, and what `run`
        raises.
        """
        seconds: dict[str, float] = {}
        rendering, size = plan.options.rendering, plan.answer_size
        with _measure(seconds, "decode"):
            file = self.open(data, plan)
            image, photo, profile, valid, remark = file.decode(plan.tile_plan.size, size, with_photo=rendering.needs_photo)
        with _measure(seconds, "inference"):
            segmentation = self.infer(image, plan, run)
        del image
        if valid is not None:
            segmentation.class_map[~valid] = VOID
        if rendering.shapes and isinstance(file, OpenImage):
            segmentation = segmentation.stored(file.turn)
        with _measure(seconds, "encode"):
            cell = self.runtime.stride * max(size) / max(plan.tile_plan.size)
            segmented_image = SegmentedImage(
                segmentation, self.labels, self.identity, plan.describe(), photo=photo, cell=cell, profile=profile
            ).shown(rendering)
            if isinstance(file, OpenImage) or not rendering.needs_place:
                body, box = segmented_image.encode_with_box(rendering)
            else:
                from imaging.georeferenced.answer import encode_scene

                body, box = encode_scene(segmented_image, file.place, rendering), None
            object_pixels = segmented_image.object_pixels(rendering)
        mean_confidence = segmentation.overall_confidence if segmentation.mean_confidence else None
        return Output(body, seconds, segmentation.counts, mean_confidence, box, object_pixels, remark)

    def infer(self, image: Pixels, plan: Plan, run: Run | None = None) -> Segmentation:
        """Segments pixels, uint8 (H, W, bands), at the plan's working size.

        Raises what `run` raises, and `AnswerTooLarge` if regions are to be replaced and there are too many.
        """
        rendering, labels, size = plan.options.rendering, self.labels, plan.answer_size
        has_confidence = plan.options.needs_confidence and self.manifest.has_logits
        foreground = rendering.class_ids(labels.classes) if rendering.needs_foreground else None
        builder = SegmentationBuilder(size, len(labels), rendering, self.temperature, has_confidence, foreground)
        all_rows: Iterable[Rows] = self.rows(image, plan, run)
        class_map = None
        if plan.options.replaces_regions:
            all_rows = list(all_rows)
            pixels = size[0] * size[1]
            min_area, fill_holes = plan.options.min_area.pixels(pixels), plan.options.fill_holes.pixels(pixels)
            class_map = without_small_regions(all_rows, size, min_area, fill_holes)
        for rows in all_rows:
            builder.add(rows, None if class_map is None else class_map[rows.pixel_rows])
            del rows  # frees its cells before the next rows are computed; so with bands below
        return builder.finish()

    def rows(self, image: Pixels, plan: Plan, run: Run | None = None) -> Iterator[Rows]:
        """The averaged logits for RGB pixels at the plan's working size, for consecutive rows of the answer from the top."""
        stride, grid, tiles = self.runtime.stride, self.runtime.grid, plan.tile_plan
        upsampler = LogitsUpsampler(tiles.cells(stride), stride, grid, tiles.size, plan.answer_size)
        for band in self._bands(image, plan, run or self.run):
            yield from upsampler.push(band)
            del band

    def _bands(self, image: Pixels, plan: Plan, run: Run) -> Iterator[Band]:
        """The averaged logits of the first view's cells. Several views give one band: their average needs all of them."""
        if len(plan.views) == 1:
            yield from self._merge(image, plan.views[0], run)
            return
        average = ViewAverage(plan.tile_plan, self.runtime.stride, self.runtime.grid, self.temperature)
        for view in plan.views:
            average.add(view, self._merge(view.of(image), view, run))
        yield average.finish()

    def _merge(self, image: Pixels, view: View, run: Run) -> Iterator[Band]:
        merger = BandMerger(view.tile_plan, self.runtime.grid)
        for logits in run(view.tile_plan.tiles(image)):
            bands = merger.add(logits)[::-1]
            while bands:
                yield bands.pop()

    def run(self, tiles: Iterator[Tile]) -> Iterator[Logits]:
        """Runs the runtime on tiles of one shape, a batch at a time."""
        for tile in tiles:
            most = min(BATCH, most_tiles(tile.shape, self.runtime.max_batch, self.runtime.max_pixels))
            yield from self.runtime.logits([tile, *islice(tiles, most - 1)])

    def warm_up(self, tile: Size | None = None) -> None:
        """Runs the network once for each tile shape that usual photos have; for whole photos, it measures the runtime's `pace`.

        tile: as in `Options`. Raises `TilingError`.
        """
        if whole := self._whole(tile):
            self.runtime.pace = min(self._seconds(FIRST_PHOTO) for _ in range(WARM_UPS)) / whole.curve[0][2]
        else:
            for shape in photo_shapes(self.tile(tile)):
                self._seconds(shape)

    def _seconds(self, shape: Size) -> float:
        """The seconds that the network takes for a black tile (height, width)."""
        start = time.perf_counter()
        self.runtime.logits([np.zeros((*shape, self.channels), np.uint8)])
        return time.perf_counter() - start

    def _whole(self, tile: Size | None) -> Whole | None:
        """How a photo is one tile, if these weights say so and this tile is no other; else None."""
        return self.manifest.whole if tile in (None, WHOLE) else None

    def tile(self, tile: Size | None) -> Size:
        """This tile, or for None that of the weights. Raises `TilingError` for one that the network cannot take."""
        largest, name = self.manifest.largest_tile, self.runtime.identity.name
        if self.manifest.whole:
            raise TilingError(f"{name} takes each photo as a whole: for scenes and tiles, convert it without --tile whole")
        if tile == WHOLE:
            raise TilingError(f"{name} takes tiles, not a photo as a whole; fcn-convert --tile whole makes a file that does")
        if tile and largest and (tile[0] > largest[0] or tile[1] > largest[1]):
            raise TilingError(
                f"{name} takes tiles of at most {largest[0]}x{largest[1]} (height x width), got "
                f"{tile[0]}x{tile[1]}; leave the tile to the weights: auto"
            )
        return tile or self.manifest.preprocessing.tile

    @property
    def temperature(self) -> float:
        """The divisor of logits before the softmax; 1.0 if the file has none for this precision."""
        return self.manifest.temperature(self.runtime.identity.precision) or 1.0

    @property
    def identity(self) -> dict[str, str]:
        """The model's facts in answers: name, sha256, runtime and precision."""
        return {name: getattr(self.runtime.identity, name) for name in ("name", "sha256", "runtime", "precision")}


@contextmanager
def _measure(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
