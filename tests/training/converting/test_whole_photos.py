"""A photo as one tile: the network's own classes at the sizes of users' photos, what it costs, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from common.arrays import Integers, Pixels, Size
from imaging.decoding import scale
from imaging.errors import ImageTooLarge
from model.imported_network import UNMEASURED, Whole
from model.inference.plan import Options
from model.inference.runtimes.openvino_runtime import MOST_SHAPES, CompiledNetwork, OpenVINORuntime
from model.inference.segmenter import Segmenter
from model.inference.tiling import WHOLE, TilingError
from tests.support.images import encode, make_photo
from tests.support.polling import HANG_S, wait_until
from tests.support.training.conversions import converted, imagenet_pixels, original_output
from tests.support.training.foreign_networks import foreign_network
from tests.support.training.whole_networks import Patches, UNet, exported
from tests.support.variants import long
from training.converting.graph import ConversionError
from training.converting.samples import photographs
from training.publishing.quantisation import export_int8

SIZES = ((480, 640), (483, 648), (960, 1280), (500, 333))
CURVE = (76_800, 1 << 20, 0.1), (614_400, 8 << 20, 0.8)

MIXTURE = """
import random
import sys
from pathlib import Path
import numpy as np
import psutil
from model.inference.runtimes.openvino_runtime import OpenVINORuntime
runtime = OpenVINORuntime(Path(sys.argv[1]), threads=1)
def run(height, width):
    runtime.logits([np.zeros((height, width, 3), np.uint8)])
shapes = [(64 + 7 * (index // 40), 64 + 11 * (index % 40)) for index in range(1000)]
random.Random(0).shuffle(shapes)
for index, shape in enumerate(shapes):
    run(*shape)
    if index in (99, 999):
        print(psutil.Process().memory_info().rss)
logits = runtime.logits([np.zeros((2048, 2048, 3), np.uint8)])
print(psutil.Process().memory_info().rss)
del logits
run(64, 64)
print(psutil.Process().memory_info().rss)
"""
"""Prints the resident memory after 100 and 1,000 shapes, while a large one's logits are there, and after that."""


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos cost what `CURVE` says."""
    monkeypatch.setattr("training.converting.conversion.measured", lambda _, whole, memory_mb: replace(whole, curve=CURVE))


def own_classes(source: Path, picture: Pixels, multiple: int, pad: str) -> Integers:
    """Of the original for the picture, extended at the right and bottom to multiples, at least 32; its map is then enlarged."""
    height, width = picture.shape[:2]
    missing = [(0, max(-(-32 // multiple) * multiple - side, -side % multiple)) for side in (height, width)]
    values = np.pad(imagenet_pixels(picture), [(0, 0), (0, 0), *missing], mode="edge" if pad == "edge" else "constant")
    logits = torch.from_numpy(original_output(source, values))
    return nn.functional.interpolate(logits, values.shape[2:], mode="bilinear")[0].argmax(0).numpy()[:height, :width]


@pytest.mark.torch
@pytest.mark.parametrize("sizes", [((97, 131), (1, 9)), *long([*SIZES])])
@pytest.mark.parametrize(("network", "multiple"), [(UNet(), 1), (Patches(), 14)])
@pytest.mark.parametrize("pad", ["zero", "edge"])
def test_a_whole_photo_has_the_networks_own_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: Sequence[tuple[int, int]], network: Any, multiple: int, pad: str
) -> None:
    monkeypatch.setattr("training.converting.conversion.measured", lambda _, whole, memory_mb: whole)
    source = exported(tmp_path / "net.onnx", network)
    manifest, runtime = converted(source, tile=WHOLE, pad=pad)
    assert manifest.whole == Whole(multiple, -(-32 // multiple) * multiple, pad, UNMEASURED)  # type: ignore[arg-type]
    for size, photo in zip(sizes, [*photographs(None)] * 2, strict=False):
        picture = scale(photo, size)
        served = Segmenter(runtime)(picture, Options(side="native")).class_map
        assert (served == own_classes(source, picture, multiple, pad)).mean() >= 0.999, size


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize(
    ("ending", "changes"),
    [
        ("logits", {"stride": 8}), ("logits", {"stride": 4, "resized": True}), ("argmax", {"stride": 4, "resized": True}),
        ("softmax", {"layout": "NHWC"}), ("logits", {"multiple": 24}), ("logits", {"opset": 11}),
    ],
)  # fmt: skip
def test_networks_of_each_ending_are_converted_for_whole_photos(tmp_path: Path, ending: str, changes: dict[str, Any]) -> None:
    manifest, runtime = converted(foreign_network(tmp_path / "net.onnx", ending=ending, **changes), tile=WHOLE)
    assert manifest.training["proof"]["agreement"] >= 0.999
    assert manifest.whole
    assert manifest.whole.multiple == changes.get("multiple", changes.get("stride", 1))
    for height, width in ((97, 131), (1, 1)):
        assert Segmenter(runtime)(make_photo(height, width), Options(side="native")).class_map.shape == (height, width)


@pytest.mark.usefixtures("unmeasured")
def test_what_a_whole_file_refuses(tmp_path: Path) -> None:
    segmenter = Segmenter(converted(foreign_network(tmp_path / "net.onnx"), tile=WHOLE)[1])
    assert segmenter(make_photo(97, 131), Options(tile=WHOLE)).class_map.shape == (97, 131)
    with pytest.raises(TilingError, match="takes each photo as a whole: for scenes and tiles"):
        segmenter(make_photo(97, 131), Options(tile=(512, 512)))
    with pytest.raises(ImageTooLarge, match=r"of at most 0\.61 megapixels, and this one would have 0\.96: give a smaller side"):
        segmenter(make_photo(640, 960), Options(side="native", quality="high"))


def test_whole_is_refused_where_it_cannot_be(tmp_path: Path) -> None:
    _, runtime = converted(foreign_network(tmp_path / "net.onnx"))
    with pytest.raises(TilingError, match="takes tiles, not a photo as a whole; fcn-convert --tile whole makes"):
        Segmenter(runtime)(make_photo(97, 131), Options(tile=WHOLE))
    with pytest.raises(ConversionError, match="takes 96 x 128 pixels alone, not each photo as a whole"):
        converted(foreign_network(tmp_path / "fixed.onnx", sides=(96, 128)), tile=WHOLE)


def test_photos_are_measured_one_size_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.converting.cost.MOST_SIZES", 3)
    lines: list[str] = []
    manifest, _ = converted(foreign_network(tmp_path / "net.onnx"), tile=WHOLE, lines=lines)
    assert manifest.whole
    pixels, counts, _ = zip(*manifest.whole.curve, strict=True)
    assert pixels == (240 * 320, 339 * 453, 480 * 640)
    assert counts[2] > 480 * 640 * 8 * 4  # its hidden map
    assert any(line.startswith("whole   photos of at most 0.31 megapixels, ") for line in lines)


def test_a_network_that_takes_too_much_memory_is_not_converted(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="a photo of 320x240 as a whole fails, or takes too much memory or time"):
        converted(foreign_network(tmp_path / "net.onnx", width=512), tile=WHOLE, memory_mb=64)


@pytest.mark.parametrize("curve", [[], [[1, 0, 1]], [[5, 1, 1], [5, 1, 1]], [[1, 2]]])
def test_a_curve_that_cannot_be(curve: Any) -> None:
    with pytest.raises(ValueError, match=r"curve|unpack"):
        Whole(1, 32, "zero", curve)


def test_the_cost_of_a_photo_lies_between_those_that_were_measured() -> None:
    whole = Whole(1, 32, "zero", ((100, 10, 1.0), (200, 40, 3.0)))
    assert [whole.cost(pixels) for pixels in (1, 100, 150, 200)] == [(10, 1.0), (10, 1.0), (25, 2.0), (40, 3.0)]


@pytest.mark.usefixtures("unmeasured")
def test_what_is_kept_of_shapes_is_bounded_and_no_photo_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, runtime = converted(foreign_network(tmp_path / "net.onnx"), tile=WHOLE)
    former, caller, may_end, compiled = (
        runtime._networks,
        threading.current_thread(),
        threading.Event(),
        list[CompiledNetwork](),
    )

    def compile_later(*arguments: Any, **options: Any) -> CompiledNetwork:
        assert threading.current_thread() is not caller
        assert may_end.wait(HANG_S)
        compiled.append(CompiledNetwork(*arguments, **options))
        return compiled[-1]

    monkeypatch.setattr("model.inference.runtimes.openvino_runtime.CompiledNetwork", compile_later)
    for side in range(130):
        if side == 2 * MOST_SHAPES:
            assert runtime._networks is former
            may_end.set()
            wait_until(lambda: not runtime._is_compiling)
        assert runtime.logits([make_photo(32, 32 + side)]).shape == (1, 3, 32, 32 + side)
    wait_until(lambda: runtime._networks == compiled[1:])
    assert (len(compiled), len(runtime._shapes), len(compiled[1]._idle), runtime.max_concurrency) == (2, 30, 0, 1)


@pytest.mark.long
@pytest.mark.torch
@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("tile", [None, WHOLE], ids=["tiles", "whole"])
@pytest.mark.parametrize("network", ["sigmoid", "segformer"])
def test_a_converted_network_in_int8(tmp_path: Path, network: str, tile: Size | None) -> None:
    source, classes = tmp_path / "net.onnx", 2 if network == "sigmoid" else 3
    if network == "segformer":
        sizes = {"hidden_sizes": [8, 8, 16, 16], "depths": [1] * 4, "decoder_hidden_size": 16}
        exported(source, SegformerForSemanticSegmentation(SegformerConfig(id2label=dict.fromkeys(range(3), ""), **sizes)))
    else:
        foreign_network(source, ending=network, classes=1)
    _, runtime = converted(source, classes=classes, tile=tile)
    for index, size in enumerate(((97, 131), (131, 97), (400, 600))):
        (tmp_path / f"{index}.png").write_bytes(encode(make_photo(*size), "PNG"))
    int8 = OpenVINORuntime(export_int8(tmp_path / "converted.onnx", tmp_path, photos=3, avx2=False))
    maps = [Segmenter(each)(make_photo(320, 448), Options(side="native")).class_map for each in (runtime, int8)]
    assert (maps[0] == maps[1]).mean() > 0.9


@pytest.mark.long
@pytest.mark.torch
@pytest.mark.usefixtures("unmeasured")
def test_memory_after_a_thousand_shapes_is_that_after_a_hundred(tmp_path: Path) -> None:
    converted(exported(tmp_path / "net.onnx", UNet()), tile=WHOLE)
    child = subprocess.run([sys.executable, "-c", MIXTURE, tmp_path / "converted.onnx"], capture_output=True, check=True)
    after_100, after_1000, large, after_large = map(int, child.stdout.split())
    assert after_1000 < 1.4 * after_100
    assert after_large < after_1000 + (large - after_1000) / 4
