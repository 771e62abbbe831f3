"""The second proof: what is served of whole pictures beside the original network's own classes, which can be far from 1."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from model.labels import numbered_labels
from tests.support.checkout import ROOT
from tests.support.training.conversions import NORMALISATION, converted
from tests.support.training.foreign_networks import foreign_network
from tests.support.training.whole_networks import Patches, UNet, exported
from tests.support.variants import long
from training.converting.conversion import compare, convert
from training.converting.inputs import NetworkInput
from training.converting.reach import describe_reach
from training.converting.request import ConversionRequest
from training.converting.samples import Original

SHARE = re.compile(r"photos  (\S+) of the network's own classes on a photo of (\d+x\d+) \(worst: \w+, IoU (\S+)\)")


def compared(source: Path, **changes: Any) -> list[str]:
    """What the command tells of whole pictures."""
    common: dict[str, Any] = {"labels": numbered_labels(["background", "leaf", "stem"]), "normalisation": NORMALISATION}
    request = ConversionRequest(source, source.with_name("converted.onnx"), **(common | changes))
    told: list[str] = []
    _, ending = convert(request, lambda _: None)
    compare(request, ending, told.append)
    return told


def shares(lines: list[str]) -> dict[str, float]:
    return {match[2]: float(match[1]) for line in lines if (match := SHARE.match(line))}


@pytest.mark.parametrize(
    ("tile", "sizes", "advice"),
    [
        (256, ["250x167", "324x241", "640x480"], "): --tile whole gives 1.0000"),
        *long((512, ["500x333", "648x483", "1280x960"], "): --side 32,1280 --tile whole gives 1.0000")),
    ],
)
def test_tiles_give_other_classes_than_a_network_that_looks_at_the_whole_photo(
    tmp_path: Path, tile: int, sizes: list[str], advice: str
) -> None:
    source = exported(tmp_path / "net.onnx", UNet())
    assert converted(source)[0].training["proof"]["agreement"] > 0.999, "the tile's proof sees nothing of it"
    lines = compared(source, tile=(tile, tile))
    assert list(shares(lines)) == sizes
    assert max(shares(lines).values()) < 0.99
    assert lines[2].endswith(advice)
    assert "the network looks at the whole image (InstanceNormalization, 3 places)" in lines[3]


def test_a_network_of_small_reach_gives_its_own_classes(tmp_path: Path) -> None:
    lines = compared(foreign_network(tmp_path / "net.onnx"), tile=(256, 256))
    assert min(shares(lines).values()) > 0.99


def test_patches_of_14_are_compared_on_the_least_sides_that_they_take(tmp_path: Path) -> None:
    lines = compared(exported(tmp_path / "net.onnx", Patches()), tile=(224, 224))
    assert min(shares(lines).values()) < 0.95
    assert any("attention (MatMul), 1 place" in line for line in lines)
    assert " --tile whole gives 1.0000" in lines[0]


def test_a_network_of_one_size_has_no_classes_of_larger_photos(tmp_path: Path) -> None:
    lines = compared(foreign_network(tmp_path / "net.onnx", sides=(256, 256)))
    assert list(shares(lines)) == ["250x167"]
    assert sum("takes 256 x 256 pixels alone, so it has no classes of its own there" in line for line in lines) == 2


def test_photographs_of_ones_own_are_compared(tmp_path: Path) -> None:
    source = exported(tmp_path / "net.onnx", UNet())
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes((ROOT / "docs/photos/chelsea.jpg").read_bytes())
    ours, own = (shares(compared(source, tile=(96, 96), photos=folder)) for folder in (None, tmp_path / "photos"))
    assert ours.keys() == own.keys()
    assert ours != own


@pytest.mark.parametrize(
    ("operator", "attributes", "words"),
    [
        ("ReduceMean", {"axes": [2, 3], "keepdims": 1}, "ReduceMean, 1 place"),
        ("ReduceMean", {"axes": [-1, -2], "keepdims": 0}, "ReduceMean, 1 place"),
        ("ReduceL2", {"axes": [3]}, "ReduceL2, 1 place"),
        ("ReduceMean", {"axes": [1]}, ""),
        ("GlobalAveragePool", {}, "GlobalAveragePool, 1 place"),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1] * 4}, ""),
        ("MeanVarianceNormalization", {"axes": [0, 2, 3]}, "MeanVarianceNormalization, 1 place"),
        ("Einsum", {"equation": "bchw,bdhw->bcd"}, "attention (Einsum), 1 place"),
        ("Softmax", {"axis": 1}, ""),
    ],
)
def test_operators_that_look_at_all_rows_and_columns_are_named(operator: str, attributes: dict[str, Any], words: str) -> None:
    inputs = ["image"] * (2 if operator == "Einsum" else 1)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "height", "width"])
    values = helper.make_tensor_value_info("values", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(operator, inputs, ["values"], **attributes)], "net", [image], [values])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    original = Original(model, NetworkInput("image", "NCHW", "float32", (None, None)), NORMALISATION)
    assert describe_reach(original, 1) == words
