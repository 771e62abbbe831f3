"""A photo as one tile: the network's own classes at the sizes of users' photos, refusals, and memory over many shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from imaging.decoding import scale
from imaging.errors import ImageTooLarge
from model.imported_network import Whole
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.inference.tiling import WHOLE, Size, TilingError
from tests.support.images import make_photo
from tests.support.training.conversions import converted, imagenet_pixels, original_output
from tests.support.training.foreign_networks import foreign_network
from tests.support.training.whole_networks import Patches, UNet, exported
from training.converting.graph import ConversionError
from training.converting.proof import photographs
from training.converting.samples import noise

SIZES = ((480, 640), (483, 648), (960, 1280), (500, 333))


@pytest.fixture(autouse=True)
def few_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.converting.cost.MOST_SIZES", 5)


@pytest.mark.long
@pytest.mark.parametrize(("network", "multiple"), [(UNet(), 1), (Patches(), 14)])
def test_a_whole_photo_has_the_networks_own_classes(tmp_path: Path, network: nn.Module, multiple: int) -> None:
    source = exported(tmp_path / "net.onnx", network)
    manifest, runtime = converted(source, tile=WHOLE)
    assert manifest.whole
    assert manifest.whole.multiple == multiple
    for (height, width), photo in zip(SIZES, [*photographs(None)] * 2, strict=False):
        picture = scale(photo, (height, width))
        rows, columns = (-(-side // multiple) * multiple for side in (height, width))
        values = np.zeros((1, 3, rows, columns), np.float32)
        values[:, :, :height, :width] = imagenet_pixels(picture)
        own = original_output(source, values)[0]
        if multiple > 1:
            logits = torch.from_numpy(own)[None]
            own = nn.functional.interpolate(logits, (rows, columns), mode="bilinear", align_corners=False)[0].numpy()
        served = Segmenter(runtime)(picture, Options(side="native")).class_map
        assert (served == own.argmax(0)[:height, :width]).mean() >= 0.999, (height, width)


def test_what_a_whole_file_refuses(tmp_path: Path) -> None:
    _, runtime = converted(foreign_network(tmp_path / "net.onnx"), tile=WHOLE)
    segmenter = Segmenter(runtime)
    assert segmenter(make_photo(97, 131), Options(tile=WHOLE)).class_map.shape == (97, 131)
    with pytest.raises(TilingError, match="takes each photo as a whole: for scenes and tiles"):
        segmenter(make_photo(97, 131), Options(tile=(512, 512)))
    with pytest.raises(ImageTooLarge, match=r"of at most 1\.23 megapixels, and this one would have 4\.00: give a smaller side"):
        segmenter(make_photo(2000, 2000), Options(side="native"))


def test_whole_is_refused_where_it_cannot_be(tmp_path: Path) -> None:
    _, runtime = converted(foreign_network(tmp_path / "net.onnx"))
    with pytest.raises(TilingError, match="takes tiles, not a photo as a whole; fcn-convert --tile whole makes"):
        Segmenter(runtime)(make_photo(97, 131), Options(tile=WHOLE))
    with pytest.raises(ConversionError, match="takes 96 x 128 pixels alone, not each photo as a whole"):
        converted(foreign_network(tmp_path / "fixed.onnx", sides=(96, 128)), tile=WHOLE)


@pytest.mark.parametrize("curve", [[], [[1, 0, 1]], [[5, 1, 1], [5, 1, 1]], [[1, 2]]])
def test_a_curve_that_cannot_be(curve: object) -> None:
    with pytest.raises(ValueError, match=r"curve|unpack"):
        Whole(1, "zero", curve)  # type: ignore[arg-type]


def test_a_photo_costs_what_the_next_larger_one_that_was_measured_costs() -> None:
    whole = Whole(1, "zero", ((100, 10, 1.0), (200, 40, 3.0)))
    assert [whole.cost(pixels) for pixels in (1, 100, 101, 200)] == [(10, 1.0)] * 2 + [(40, 3.0)] * 2
    assert whole.most_pixels == 200


@pytest.mark.long
def test_memory_after_many_shapes_is_that_after_fewer(tmp_path: Path) -> None:
    _, runtime = converted(foreign_network(tmp_path / "net.onnx", stride=4), tile=WHOLE)

    def bytes_after(shapes: list[Size]) -> int:
        for shape in shapes:
            runtime.logits([noise(shape, 0)])
        return psutil.Process().memory_info().rss

    every = [(64 + 7 * row, 64 + 11 * column) for row in range(25) for column in range(24)]
    after_100, after_600 = bytes_after(every[:100]), bytes_after(every[100:])
    assert after_600 - after_100 < 25_000_000
