"""The corridor from an image to its class map, against the same steps written out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.predictor import Predictor
from model.scaling import resize_image
from model.segmentation import Options, Run, Segmentation, plan_image, run_in_batches, segment
from model.tiling import Blend
from model.upsampling import FixedUpsample
from model.weights_file import Weights

Pixels = npt.NDArray[np.uint8]
Photo = Callable[..., Pixels]
SIZES = [(1, 1), (31, 32), (33, 500)]


@pytest.fixture(scope="module")
def predictor(narrow: Weights) -> Predictor:
    return Predictor(narrow, "cpu", "float32")


def segmented(predictor: Predictor, image: Pixels, options: Options, temperature: float | None = None) -> Segmentation:
    plan = plan_image(image.shape[:2], options, predictor.manifest.preprocessing.side)
    return segment(image, plan, run_in_batches(predictor), num_classes=4, grid=predictor.grid, temperature=temperature)


def direct_logits(weights: Weights, image: Pixels) -> Tensor:
    """Logits (4, H, W) of the plain network on the image, extended to a multiple of 64 by repeating its edge."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % 64), (0, -width % 64), (0, 0)), mode="edge")
    normalised = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        return weights.network()(normalised)[0, :, :height, :width]


def seen_as(pixel: Tensor) -> Tensor:
    """Logits of four classes that depend on one pixel (3, h, w) alone."""
    red, green, blue = pixel.float() / 64
    return torch.stack([red, green, blue, red * 0 + 1.7])


def one_pixel_network(tiles: Iterator[Pixels]) -> Iterator[Tensor]:
    return (seen_as(torch.tensor(tile).permute(2, 0, 1)) for tile in tiles)


def assert_same_classes(found: Pixels, logits: Tensor) -> None:
    """Equal ids wherever rounding cannot decide, which is nearly everywhere."""
    best, second = logits.topk(2, 0).values
    clear = (best - second > 1e-3).numpy()
    assert clear.mean() > 0.99
    assert np.array_equal(found[clear], logits.argmax(0).numpy()[clear])
    assert len(np.unique(found)) > 1


def test_a_small_image_is_segmented_as_the_network_alone_does_it(predictor: Predictor, narrow: Weights, photo: Photo) -> None:
    image = photo(50, 61)
    result = segmented(predictor, image, Options((64, 64), side="native"), 1.3)
    logits = direct_logits(narrow, image)
    assert_same_classes(result.class_map, logits)
    probability = (logits / 1.3).softmax(0).amax(0)
    assert result.confidence is not None
    assert np.abs(result.confidence - (255 * probability).numpy()).max() <= 0.51
    assert len(result.plan) == 1


def test_a_scaled_image_is_segmented_by_logits_scaled_back(predictor: Predictor, narrow: Weights, photo: Photo) -> None:
    image = photo(20, 32)
    result = segmented(predictor, image, Options((64, 64), side="auto"))
    assert result.plan.size == (40, 64)
    logits = direct_logits(narrow, resize_image(image, (40, 64)))
    assert_same_classes(result.class_map, F.interpolate(logits[None], size=(20, 32), mode="bilinear")[0])


def test_overlapping_tiles_are_segmented_by_their_averaged_logits(predictor: Predictor, narrow: Weights, photo: Photo) -> None:
    image = photo(64, 96)
    result = segmented(predictor, image, Options((64, 64), 0.5, "mean", "native"))
    left, right = direct_logits(narrow, image[:, :64]), direct_logits(narrow, image[:, 32:])
    both = (left[:, :, 32:] + right[:, :, :32]) / 2
    assert_same_classes(result.class_map, torch.cat([left[:, :, :32], both, right[:, :, 32:]], 2))


def at_full_size(predictor: Predictor) -> Run:
    """The network's tiles, upsampled one by one before they are merged: as in the paper, and slower."""
    final = FixedUpsample(predictor.stride, predictor.grid)

    def run(tiles: Iterator[Pixels]) -> Iterator[Tensor]:
        return (final.upsample(predictor.logits([tile]), (tile.shape[0], tile.shape[1]))[0] for tile in tiles)

    return run


@pytest.mark.parametrize("size", [(90, 120), (400, 300)], ids=str)
@pytest.mark.parametrize(("blend", "agreement"), [("mean", 1), ("hann", 0.995)])
def test_merging_cells_agrees_with_merging_pixels(
    predictor: Predictor, photo: Photo, size: tuple[int, int], blend: Blend, agreement: float
) -> None:
    image = photo(*size)
    plan = plan_image(size, Options((128, 128), 0.25, blend, "native"), (64, 128))
    pixels = segment(image, plan, at_full_size(predictor), num_classes=4, grid=predictor.grid)
    cells = segment(image, plan, run_in_batches(predictor), num_classes=4, grid=predictor.grid)
    assert len(np.unique(cells.class_map)) > 1
    assert (pixels.class_map == cells.class_map).mean() >= agreement


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("side", ["auto", "native", 70])
def test_the_class_map_has_the_size_of_the_image(predictor: Predictor, photo: Photo, size: tuple[int, int], side: int) -> None:
    result = segmented(predictor, photo(*size), Options((64, 96), side=side), 1.0)
    assert result.confidence is not None
    for found in (result.class_map, result.confidence):
        assert (found.shape, found.dtype) == (size, np.uint8)
    assert result.class_map.max() < 4
    assert result.confidence.min() >= 63


@pytest.mark.parametrize("size", [*SIZES, (150, 200)], ids=str)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_confidence_is_the_rounded_softmax_of_the_winner(size: tuple[int, int], temperature: float) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    plan = plan_image(size, Options((64, 64), side="native"), (64, 128))
    result = segment(image, plan, one_pixel_network, num_classes=4, grid="corner", temperature=temperature)
    logits = seen_as(torch.tensor(image).permute(2, 0, 1))
    probability, ids = (logits.double() / temperature).softmax(0).max(0)
    assert np.array_equal(result.class_map, ids.numpy())
    assert result.confidence is not None
    assert np.abs(result.confidence - 255 * probability.numpy()).max() <= 0.501
    means = [probability[ids == i].mean().item() if (ids == i).any() else 0.0 for i in range(4)]
    assert result.mean_confidence == pytest.approx(means, abs=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_probabilities_are_each_class_s_softmax(temperature: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (33, 50, 3), dtype=np.uint8)
    plan = plan_image((33, 50), Options(side="native"), (32, 64))
    result = segment(image, plan, one_pixel_network, num_classes=4, grid="corner", temperature=temperature, probabilities=True)
    expected = (seen_as(torch.from_numpy(image).permute(2, 0, 1)).double() / temperature).softmax(0)
    assert result.probabilities is not None
    assert result.probabilities.dtype == np.float16
    np.testing.assert_allclose(result.probabilities, expected, atol=5e-4)


def test_a_class_that_no_pixel_has_gets_no_mean_confidence() -> None:
    image = np.full((10, 10, 3), (255, 0, 0), np.uint8)
    plan = plan_image((10, 10), Options((32, 32), side="native"), (64, 128))
    result = segment(image, plan, one_pixel_network, num_classes=4, grid="corner", temperature=1.0)
    winner = torch.tensor([255 / 64, 0, 0, 1.7]).softmax(0)[0].item()
    assert result.mean_confidence == pytest.approx((winner, 0, 0, 0), abs=1e-6)


def test_without_a_temperature_the_classes_are_the_same_and_confidence_is_not_computed(photo: Photo) -> None:
    image = photo(90, 120)
    plan = plan_image((90, 120), Options((64, 64), side=200), (64, 128))
    plain = segment(image, plan, one_pixel_network, num_classes=4, grid="corner")
    confident = segment(image, plan, one_pixel_network, num_classes=4, grid="corner", temperature=3.0)
    assert plain.confidence is None
    assert np.array_equal(plain.class_map, confident.class_map)


@pytest.mark.parametrize("temperature", [None, 1.0])
def test_ties_go_to_the_lowest_id(temperature: float | None) -> None:
    plan = plan_image((40, 40), Options((64, 64), side="native"), (64, 128))
    tied = torch.tensor([0.0, 2.0, 2.0, 2.0])[:, None, None].expand(4, *plan.tile)
    result = segment(
        np.zeros((40, 40, 3), np.uint8),
        plan,
        lambda tiles: (tied for _ in tiles),
        num_classes=4,
        grid="corner",
        temperature=temperature,
    )
    assert (result.class_map == 1).all()


def test_the_highest_class_id_fits_the_map() -> None:
    plan = plan_image((2, 2), Options((32, 32), side="native"), (64, 128))
    logits = torch.nn.functional.one_hot(torch.full(plan.tile, 254), 255).permute(2, 0, 1).float()
    result = segment(np.zeros((2, 2, 3), np.uint8), plan, lambda tiles: (logits for _ in tiles), num_classes=255, grid="corner")
    assert result.class_map.tolist() == [[254, 254], [254, 254]]


@pytest.mark.parametrize(
    ("batch_tiles", "taken"), [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 3, 3, 6, 6, 6, 7]), (100, [7] * 7)], ids=["1", "3", "100"]
)
def test_batches_take_as_many_tiles_as_asked_and_keep_their_order(
    predictor: Predictor, photo: Photo, batch_tiles: int, taken: list[int]
) -> None:
    tiles, drawn = [photo(32, 32, seed) for seed in range(7)], 0

    def counted() -> Iterator[Pixels]:
        nonlocal drawn
        for tile in tiles:
            drawn += 1
            yield tile

    found = [(logits, drawn) for logits in run_in_batches(predictor, batch_tiles)(counted())]
    assert [count for _, count in found] == taken
    for tile, (logits, _) in zip(tiles, found, strict=True):
        torch.testing.assert_close(logits, predictor.logits([tile])[0], atol=1e-4, rtol=0)


def test_the_plan_lies_over_the_working_size() -> None:
    plan = plan_image((300, 600), Options((64, 96), 0.5, "hann", "auto"), (64, 128))
    assert (plan.size, plan.tile, plan.overlap, plan.blend) == ((64, 128), (64, 96), 0.5, "hann")
