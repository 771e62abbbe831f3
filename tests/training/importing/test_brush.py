"""Brush labels of Label Studio decode to the pixels that were painted."""

from __future__ import annotations

import numpy as np
import pytest

from training.importing.label_studio.geometry import decode_brush


def packed(bits: str) -> list[int]:
    return [int(byte) for byte in np.packbits(np.array([int(bit) for bit in bits], np.uint8))]


def header(count: int, value_bits: int = 8) -> str:
    return f"{count:032b}{value_bits - 1:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))


def test_values_one_by_one_and_the_edges_of_strokes() -> None:
    """A run of 4 equal values, then one of 8 that are written each; alpha from 128 on is painted."""
    pixels = [1, 2, 3, 127, 4, 5, 6, 128]
    bits = header(12) + "1" + "00" + "011" + f"{255:08b}" + "0" + "01" + "0111" + "".join(f"{value:08b}" for value in pixels)
    assert decode_brush(packed(bits), (1, 3)).tolist() == [[True, False, True]]


def test_runs_that_end_inside_a_pixel() -> None:
    """Two alphas of each way of writing, in runs of 3, 6 and 7 values."""
    bits = (
        header(16) + "1" + "00" + "010" + f"{255:08b}" + "0" + "00" + "101" + "".join(f"{v:08b}" for v in (9, 0, 0, 0, 200, 0))
    )
    bits += "1" + "00" + "110" + f"{128:08b}"
    assert decode_brush(packed(bits), (2, 2)).tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (packed(header(8)), "of 1x3 pixels needs 12 values of 8 bits, got 8 of 8"),
        (packed(header(12, value_bits=4)), "needs 12 values of 8 bits, got 12 of 4"),
        (packed(header(12)), "ends after"),
        (packed(header(12) + "1" + "10" + f"{99:08b}" + f"{0:08b}"), "of 12 values has runs of 100"),
        ([256], "numbers from 0 to 255"),
        (["a"], "numbers from 0 to 255"),
        ([], "ends after 0 bytes"),
    ],
)
def test_what_is_no_brush_label_is_told(values: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_brush(values, (1, 3))
