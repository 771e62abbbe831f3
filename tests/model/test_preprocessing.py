"""What happens to pixels before the network."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model.networks.servable import normalise
from model.preprocessing import Preprocessing, PreprocessingError


def test_every_value_is_that_of_the_definition() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3, 1).view(1, 3, 1, 256)
    preprocessing = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    result = normalise(pixels, preprocessing)
    assert result.dtype == torch.float32
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    expected = (pixels.double() / 255 - mean) / std
    torch.testing.assert_close(result.double(), expected, atol=1e-6, rtol=1e-6)


def test_the_memory_layout_is_kept() -> None:
    pixels = torch.zeros(2, 5, 7, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    result = normalise(pixels, Preprocessing())
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channel_order": "BGR"}, "channel_order must be RGB, got 'BGR'"),
        ({"gsd": 0.0}, "gsd must be metres of a pixel, 1e-06 to 1000000, got '0.0'"),
        *(({"gsd": gsd}, "gsd must be metres of a pixel") for gsd in (float("nan"), 1e-7, 1e9, True, "0.5", [1], 10**400)),
        ({"mean": (0.5, 0.5)}, "mean and std need a value for each of 3 bands"),
        ({"std": (0.5, 0.0, 0.5)}, "std above 0"),
        ({"side": (16, 512)}, r"must be 32 <= low <= high, got \(16, 512\)"),
    ],
)
def test_a_preprocessing_that_cannot_be_done_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(PreprocessingError, match=message):
        Preprocessing(**arguments)


def test_one_advised_side_alone_is_a_range_too() -> None:
    assert Preprocessing(side=(32, 32)).side == (32, 32)
