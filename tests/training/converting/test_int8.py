"""int8 files of converted networks: of probabilities and of SegFormer, from photos of many shapes, in tiles and as a whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from model.inference.plan import Options
from model.inference.runtimes.openvino_runtime import OpenVINORuntime
from model.inference.segmenter import Segmenter
from model.inference.tiling import WHOLE, Size
from tests.support.images import encode, make_photo
from tests.support.training.conversions import converted
from tests.support.training.foreign_networks import foreign_network
from tests.support.training.whole_networks import exported
from training.publishing.quantisation import export_int8

CURVE = (76_800, 1 << 20, 0.1), (614_400, 8 << 20, 0.8)


@pytest.mark.long
@pytest.mark.torch
@pytest.mark.parametrize("tile", [None, WHOLE], ids=["tiles", "whole"])
@pytest.mark.parametrize("network", ["sigmoid", "softmax", "logits", "segformer"])
def test_a_converted_network_in_int8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, tile: Size | None) -> None:
    monkeypatch.setattr("training.converting.conversion.measured", lambda _, whole, memory_mb: replace(whole, curve=CURVE))
    source, classes = tmp_path / "net.onnx", 2 if network == "sigmoid" else 3
    if network == "segformer":
        sizes = {"hidden_sizes": [8, 8, 16, 16], "depths": [1] * 4, "decoder_hidden_size": 16}
        exported(source, SegformerForSemanticSegmentation(SegformerConfig(id2label=dict.fromkeys(range(3), ""), **sizes)))
    else:
        foreign_network(source, ending=network, classes=1 if network == "sigmoid" else 3)
    _, runtime = converted(source, classes=classes, tile=tile)
    for index, (height, width) in enumerate(((97, 131), (131, 97), (400, 600))):
        (tmp_path / f"{index}.png").write_bytes(encode(make_photo(height, width), "PNG"))
    path = export_int8(tmp_path / "converted.onnx", tmp_path, photos=3, avx2=False)
    photo, options = make_photo(320, 448), Options(side="native")
    maps = [Segmenter(each)(photo, options).class_map for each in (runtime, OpenVINORuntime(path))]
    assert (maps[0] == maps[1]).mean() > 0.9
