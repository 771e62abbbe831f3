"""The way from an image to its class map, against the same steps written out by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from imaging.answer import Segmentation, SegmentedImage
from imaging.decoding import Limits, decode, scale
from imaging.errors import AnswerTooLarge, ImageTooLarge
from imaging.rendering import Format, Rendering
from model.inference.merging import Logits
from model.inference.plan import Options
from model.inference.runtime import Runtime, Tile
from model.inference.segmenter import BATCH, Segmenter
from model.inference.tiling import TilingError, photo_shapes
from model.weights_file import Weights
from tests.support.images import Pixels, encode, make_photo
from tests.support.model.doubles import Delegating
from tests.support.model.segmentation import segment_pixels

if TYPE_CHECKING:
    from torch import Tensor

SIZES = [(1, 1), (31, 32), (33, 500)]


def by_pixel(segmenter: Segmenter, image: Pixels, options: Options) -> Segmentation:
    """The same with a network whose logits of four classes are each pixel's own."""
    pixelwise = Segmenter(Pixelwise(segmenter.runtime))
    pixelwise.manifest = segmenter.manifest
    return segment_pixels(pixelwise, image, options)


def seen_as(pixels: Pixels) -> Logits:
    """Logits of four classes that depend on one pixel alone."""
    red, green, blue = pixels.transpose(2, 0, 1) / np.float32(64)
    return np.stack([red, green, blue, np.full_like(red, 1.7)])


def direct_logits(weights: Weights, image: Pixels) -> Tensor:
    """Logits (4, H, W) of the plain network on the image, extended to a multiple of 64 by repeating its edge."""
    import torch

    from model.networks.servable import load_network, normalise

    height, width = image.shape[:2]
    padded_image = np.pad(image, ((0, -height % 64), (0, -width % 64), (0, 0)), mode="edge")
    pixels = torch.from_numpy(padded_image).permute(2, 0, 1)[None]
    with torch.inference_mode():
        return load_network(weights)(normalise(pixels, weights.manifest.preprocessing))[0, :, :height, :width]


def assert_same_classes(class_map: Pixels, logits: Tensor) -> None:
    """Equal ids wherever rounding cannot decide, which is nearly everywhere."""
    best, second = logits.topk(2, 0).values
    clear = (best - second > 1e-3).numpy()
    assert clear.mean() > 0.99
    assert np.array_equal(class_map[clear], logits.argmax(0).numpy()[clear])
    assert len(np.unique(class_map)) > 1


def test_a_small_image_is_segmented_as_the_network_alone_does_it(segmenter: Segmenter, narrow: Weights) -> None:
    image = make_photo(50, 61)
    result = segment_pixels(segmenter, image, Options((64, 64), side="native", rendering=Rendering("confidence")))
    logits = direct_logits(narrow, image)
    assert_same_classes(result.class_map, logits)
    assert result.confidence is not None
    # between cells that agree it is interpolated by log-odds; random weights show the difference more than photographs do
    assert np.abs(result.confidence - (255 * logits.softmax(0).amax(0)).numpy()).max() <= 3


def test_a_scaled_image_is_segmented_by_logits_scaled_back(segmenter: Segmenter, narrow: Weights) -> None:
    import torch

    image = make_photo(20, 32)
    result = segment_pixels(segmenter, image, Options((64, 64), side="auto"))
    logits = direct_logits(narrow, scale(image, (40, 64)))
    expected = torch.nn.functional.interpolate(logits[None], size=(20, 32), mode="bilinear")
    assert_same_classes(result.class_map, expected[0])


def test_overlapping_tiles_are_segmented_by_their_averaged_logits(segmenter: Segmenter, narrow: Weights) -> None:
    import torch

    image = make_photo(64, 96)
    result = segment_pixels(segmenter, image, Options((64, 64), 0.5, "mean", "native"))
    left, right = direct_logits(narrow, image[:, :64]), direct_logits(narrow, image[:, 32:])
    both = (left[:, :, 32:] + right[:, :, :32]) / 2
    expected = torch.cat([left[:, :, :32], both, right[:, :, 32:]], 2)
    # cells are averaged before they are interpolated: between the last cell of a zone and the next zone, pixels differ a little
    assert (result.class_map == expected.argmax(0).numpy()).mean() >= 0.995
    inner = [*range(24), *range(32, 56), *range(64, 96)]
    assert_same_classes(result.class_map[:, inner], expected[:, :, inner])


@pytest.mark.parametrize("size", [*SIZES, (150, 200)], ids=str)
@pytest.mark.parametrize("temperature", [None, 2.5])
def test_confidence_and_probabilities_are_the_softmax_over_the_temperature(
    segmenter: Segmenter, size: tuple[int, int], temperature: float | None
) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    manifest = replace(segmenter.manifest, temperatures={"float32": temperature} if temperature else {})
    other = Segmenter(segmenter.runtime)
    other.manifest = manifest
    options = Options((64, 64), side="native", rendering=Rendering("npz", probabilities=True))
    result = by_pixel(other, image, options)
    powers = np.exp(seen_as(image).astype(np.float64) / (temperature or 1))
    softmax = powers / powers.sum(0)
    probability, ids = softmax.max(0), softmax.argmax(0)
    assert np.array_equal(result.class_map, ids)
    assert result.confidence is not None
    assert np.abs(result.confidence - 255 * probability).max() <= 0.501
    means = [probability[ids == i].mean() if (ids == i).any() else 0.0 for i in range(4)]
    assert result.mean_confidence == pytest.approx(means, abs=1e-5)
    assert result.probabilities is not None
    assert result.probabilities.dtype == np.float16
    np.testing.assert_allclose(result.probabilities, softmax, atol=5e-4)


def test_the_answer_is_the_encoded_segmentation(segmenter: Segmenter) -> None:
    data = encode(make_photo(90, 150))
    for format in ("png", "overlay", "json", "npz"):
        options = Options((64, 64), rendering=Rendering(format))  # type: ignore[arg-type]
        plan = segmenter.plan(data, options)
        assert (plan.size, plan.tile_plan.size, plan.megapixels) == ((90, 150), (77, 128), 0.0135)
        result = segmenter.infer(decode(data, Limits(), (77, 128)), plan)
        answer = SegmentedImage(result, segmenter.labels, segmenter.identity, plan.describe(), make_photo(90, 150))
        output = segmenter.segment(data, plan)
        assert output.body == answer.encode(options.rendering)
        assert output.body == segmenter.segment(data, plan).body
        assert list(output.seconds) == ["decode", "inference", "encode"]


def test_the_foreground_is_the_probability_of_its_classes(segmenter: Segmenter) -> None:
    image = np.random.default_rng(1).integers(0, 256, (150, 200, 3), np.uint8)
    rendering = Rendering("cutout", classes=("1", "3"))
    result = by_pixel(segmenter, image, Options((64, 64), side="native", rendering=rendering))
    powers = np.exp(seen_as(image).astype(np.float64) / segmenter.temperature)
    probability = (powers / powers.sum(0))[[1, 3]].sum(0)
    assert result.foreground is not None
    assert np.abs(result.foreground - 255 * probability).max() <= 0.501


def test_a_plan_is_refused_before_anything_is_decoded(segmenter: Segmenter) -> None:
    data = encode(make_photo(60, 100))
    with pytest.raises(TilingError):
        segmenter.plan(data, Options((100, 64)))
    with pytest.raises(ImageTooLarge):
        Segmenter(segmenter.runtime, Limits(megapixels=0.005)).plan(data, Options())
    large = encode(np.zeros((2001, 2000, 3), np.uint8))
    with pytest.raises(AnswerTooLarge):
        segmenter.plan(large, Options(rendering=Rendering("json", "array")))


@pytest.mark.parametrize(
    ("format", "answer", "side", "openings"),
    [
        ("JPEG", "png", 400, 1),
        ("JPEG", "png", 100, 1),
        ("JPEG", "overlay", 300, 1),
        ("JPEG", "overlay", 100, 2),  # libjpeg decodes at one size only
        ("PNG", "overlay", 100, 2),  # its pixels are copied only when they are decoded
        ("TIFF", "overlay", 100, 1),
        ("WEBP", "overlay", 100, 1),
    ],
)  # fmt: skip
def test_an_image_file_is_opened_once(
    openvino_runtime: Runtime, monkeypatch: pytest.MonkeyPatch, format: str, answer: Format, side: int, openings: int
) -> None:
    segmenter = Segmenter(openvino_runtime)
    data, calls, open_file = encode(make_photo(300, 400), format), [], Image.open

    def count(*arguments: Any, **options: Any) -> Image.Image:
        calls.append(arguments)
        return open_file(*arguments, **options)

    monkeypatch.setattr(Image, "open", count)
    plan = segmenter.plan(data, Options((64, 64), side=side, rendering=Rendering(answer)))
    assert segmenter.memory_bytes(data, plan)
    body = segmenter.segment(data, plan).body
    assert len(calls) == openings
    assert segmenter.segment(data, plan).body == body  # a plan may be used again


class Recording(Delegating):
    """A runtime that notes what it is asked for, and asks another."""

    def __init__(self, runtime: Runtime, max_batch: int = 1, max_pixels: int | None = None) -> None:
        super().__init__(runtime)
        self.max_batch, self.max_pixels = max_batch, max_pixels
        self.calls: list[list[tuple[int, ...]]] = []

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        self.calls.append([tile.shape for tile in tiles])
        return super().logits(tiles)


class Pixelwise(Delegating):
    """A runtime whose logits of four classes are each pixel's own."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.stride = 1

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        return np.stack([seen_as(tile) for tile in tiles])


@pytest.mark.parametrize(
    ("max_batch", "max_pixels", "batch_sizes"),
    [(1, None, [1] * 10), (3, None, [3, 3, 3, 1]), (64, None, [BATCH, 10 - BATCH]), (64, 4 * 32 * 32 + 1, [4, 4, 2])],
)
def test_tiles_go_to_the_runtime_in_batches_and_come_back_in_order(
    segmenter: Segmenter, max_batch: int, max_pixels: int | None, batch_sizes: list[int]
) -> None:
    tiles, recording = [make_photo(32, 32, seed) for seed in range(10)], Recording(segmenter.runtime, max_batch, max_pixels)
    results = list(Segmenter(recording).run(iter(tiles)))
    assert [len(call) for call in recording.calls] == batch_sizes
    for tile, logits in zip(tiles, results, strict=True):
        np.testing.assert_allclose(logits, segmenter.runtime.logits([tile])[0], atol=1e-5)


def test_tiles_are_cut_when_they_are_asked_for(segmenter: Segmenter) -> None:
    recording, count = Recording(segmenter.runtime), 0

    def run(tiles: Iterator[Tile]) -> Iterator[Logits]:
        nonlocal count
        for tile in tiles:
            count += 1
            yield recording.logits([tile])[0]

    plan = segmenter.plan_size((300, 64), Options((64, 64), side="native"))
    rows = segmenter.rows(make_photo(300, 64), plan, run)
    next(rows)
    assert count == 1 < len(plan.tile_plan)
    assert sum(1 for _ in rows) > 1
    assert count == len(plan.tile_plan)


def test_warm_up_runs_each_shape_of_usual_photos_once(segmenter: Segmenter) -> None:
    recording = Recording(segmenter.runtime)
    Segmenter(recording).warm_up((256, 192))
    assert recording.calls == [[(height, width, 3)] for height, width in photo_shapes((256, 192))]
