"""Mask classification: class scores and masks of queries become classes of pixels, as the libraries make them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from PIL import Image

from common.arrays import Pixels
from imaging.rendering import Rendering
from model.imported_network import ImportedNetwork
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from tests.support.images import encode, make_photo
from tests.support.training.conversions import converted, imagenet_pixels
from tests.support.training.mask_networks import MASKS, SCORES, SIDES, mask_network, network_of_outputs
from training.converting.graph import ConversionError

PHOTO = make_photo(*SIDES)


def library_scores(source: Path, photo: Pixels = PHOTO, *, after: bool = False) -> torch.Tensor:
    """(classes, height, width): what `transformers` sums up, for a photo of the network's size.

    after: the sums are enlarged, as of MaskFormer and OneFormer, instead of the masks, as of Mask2Former and EoMT.
    """
    session = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    element = np.float16 if "float16" in session.get_inputs()[0].type else np.float32
    values = session.run([SCORES, MASKS], {"image": imagenet_pixels(photo).astype(element)})
    scores, masks = (torch.from_numpy(array).float() for array in values)

    def enlarged(maps: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(maps, size=photo.shape[:2], mode="bilinear", align_corners=False)

    masks = masks.sigmoid() if after else enlarged(masks).sigmoid()
    sums = torch.einsum("bqc,bqhw->bchw", scores.softmax(-1)[..., :-1], masks)
    return (enlarged(sums) if after else sums)[0]


@pytest.mark.parametrize(
    ("network", "model_type", "after"),
    [
        ({}, "", False),
        ({}, "mask2former", False),
        ({}, "eomt", False),
        ({}, "maskformer", True),
        ({}, "oneformer", True),
        ({"stride": 1}, "", False),
        ({"stride": 8, "queries": 5}, "", False),
        ({"dtype": TensorProto.FLOAT16}, "", False),
        ({"below": 30.0}, "maskformer", True),  # no mask is anywhere, and the sums still say the class
    ],
)
def test_the_logits_are_the_logarithms_of_the_library_s_sums(
    tmp_path: Path, network: dict[str, Any], model_type: str, after: bool
) -> None:
    source = mask_network(tmp_path / "net.onnx", **network)
    if model_type:
        (tmp_path / "config.json").write_text(f'{{"model_type": "{model_type}"}}')
    lines: list[str] = []
    manifest, runtime = converted(source, lines=lines)
    assert isinstance(manifest.architecture, ImportedNetwork)
    assert (manifest.architecture.output, runtime.stride) == ("masks", 1)
    (line,) = [line for line in lines if line.startswith("masks")]
    assert all(name in line for name in (SCORES, MASKS, "3 classes"))
    assert ("after their sigmoid" in line) == after
    theirs = library_scores(source, after=after)
    assert len(theirs.argmax(0).unique()) >= 2
    ours = torch.from_numpy(runtime.logits([PHOTO])[0])
    assert (ours - theirs.log()).abs().max() < 0.02
    assert (ours.argmax(0) == theirs.argmax(0)).float().mean() >= 0.999
    class_map = torch.from_numpy(Segmenter(runtime)(PHOTO).class_map)
    assert (class_map == theirs.argmax(0)).float().mean() >= 0.999


def test_names_of_transformers_say_what_it_enlarges(tmp_path: Path) -> None:
    """Without a `config.json`: MaskFormer's tensors and OneFormer's have this name, and Mask2Former's the second one too."""
    source = mask_network(tmp_path / "net.onnx")
    for names, after in (
        (["net.pixel_level_module.bias"], True),
        (["net.pixel_level_module.bias", "net.mask_predictor"], False),
    ):
        model = onnx.load(source)
        for name in names:
            model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), name))
        (tmp_path / "named").mkdir(exist_ok=True)
        named = tmp_path / "named" / "net.onnx"
        named.write_bytes(model.SerializeToString())
        lines: list[str] = []
        converted(named, lines=lines)
        assert any("after their sigmoid" in line for line in lines) == after


def test_a_photo_is_scaled_to_a_network_of_one_size(tmp_path: Path) -> None:
    """As the libraries do: queries are of the whole photo."""
    source = mask_network(tmp_path / "net.onnx")
    manifest, runtime = converted(source)
    assert manifest.preprocessing.side == (128, 128)
    segmenter = Segmenter(runtime)
    large = np.ascontiguousarray(PHOTO.repeat(4, 0).repeat(4, 1))
    for photo in (large, np.ascontiguousarray(PHOTO[::2, ::2])):
        data = encode(photo)
        assert segmenter.plan(data, Options()).tile_count == 1
    classes = torch.from_numpy(np.ascontiguousarray(segmenter(large).class_map[2::4, 2::4]))
    assert (classes == library_scores(source).argmax(0)).float().mean() > 0.98
    assert converted(source, side=(64, 512))[0].preprocessing.side == (64, 512)
    assert converted(mask_network(tmp_path / "net.onnx", sides=("height", "width")))[0].preprocessing.side == (32, 1024)


def test_the_confidence_is_the_share_of_the_sum(tmp_path: Path) -> None:
    source = mask_network(tmp_path / "net.onnx")
    _, runtime = converted(source)
    segmenter = Segmenter(runtime)
    data = encode(PHOTO)
    body = segmenter.segment(data, segmenter.plan(data, Options(rendering=Rendering("confidence")))).body
    sums = library_scores(source)
    shares = (sums.max(0).values / sums.sum(0)).numpy()
    assert np.abs(np.asarray(Image.open(BytesIO(body))) / 255 - shares).max() < 0.02


@pytest.mark.parametrize(
    ("network", "changes"),
    [
        ({"scores": {"auxiliary_logits": (7, 4)}, "maps": {"auxiliary_masks": (7, 4)}}, {}),
        ({"scores": {"last_hidden_state": (7, 256)}, "maps": {"pixel_features": (256, 4), "encoder_features": (24, 32)}}, {}),
        ({"scores": {"other_scores": (7, 4)}}, {"output": f"{SCORES},{MASKS}"}),
        ({"others": {"scale": (1, 2)}}, {"output": f"{SCORES},{MASKS}"}),
        ({"maps": {"semantic": (3, 4)}}, {"output": f"{SCORES},{MASKS}"}),
    ],
)
def test_scores_and_masks_among_other_outputs(tmp_path: Path, network: dict[str, Any], changes: dict[str, Any]) -> None:
    source = mask_network(tmp_path / "net.onnx", **network)
    _, runtime = converted(source, **changes)
    theirs = library_scores(source).argmax(0).numpy()
    assert (runtime.logits([PHOTO])[0].argmax(0) == theirs).mean() >= 0.999


@pytest.mark.parametrize(
    ("network", "changes", "words"),
    [
        ({"classes": 4}, {}, f"{SCORES} has 4 classes and none for each query, and 3 are named: each needs one name"),
        ({"classes": 2}, {}, "has 2 classes and none for each query, and 3 are named: leave out a name of the last"),
        ({"classes": 4}, {"output": f"{SCORES},{MASKS}"}, "has 4 classes and none"),
        ({}, {"labels": None}, "nothing names the classes, 3 of them"),
        ({"scores": {"state": (7, 5)}}, {"labels": None}, f"say which: --output {SCORES},{MASKS}"),
        ({"scores": {"other_scores": (7, 4)}}, {}, f"say which: --output {SCORES},{MASKS}"),
        ({"maps": {"other_masks": (7, 4)}}, {}, f"say which: --output {SCORES},{MASKS}"),
        ({"maps": {"semantic": (3, 4)}}, {}, f"say which: --output {SCORES},{MASKS} or --output semantic"),
        ({"queries": 8, "others": {"quality": (1, 8)}}, {}, f"quality 1x8 .*: --output {SCORES},{MASKS}"),
        ({"share": [MASKS]}, {}, f"{MASKS} holds values from 0 to 1: .* masks before their sigmoid"),
        ({"classes": 8, "share": [SCORES]}, {"labels": None}, f"{SCORES} holds values from 0 to 1"),
        ({}, {"output": f"{MASKS},{SCORES}"}, "there is no output"),
        ({}, {"output": f"{SCORES},nothing"}, "there is no output"),
        ({}, {"output": SCORES}, "is no map"),
        ({}, {"before_resize": True}, "convert without --before-resize"),
    ],
)
def test_an_open_question_is_an_error(tmp_path: Path, network: dict[str, Any], changes: dict[str, Any], words: str) -> None:
    source = mask_network(tmp_path / "net.onnx", **network)
    for model_type in ("", "maskformer"):
        if model_type:
            (tmp_path / "config.json").write_text(f'{{"model_type": "{model_type}"}}')
        with pytest.raises(ConversionError, match=words) as error:
            converted(source, **changes)
        assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "converted.onnx").exists()


@pytest.mark.parametrize("model_type", ["mask2former", "eomt"])
def test_masks_without_their_scores_are_no_classes(tmp_path: Path, model_type: str) -> None:
    source = network_of_outputs(tmp_path / "net.onnx", {MASKS: (3, 4)})
    (tmp_path / "config.json").write_text(f'{{"model_type": "{model_type}"}}')
    with pytest.raises(ConversionError, match=f"{model_type} gives scores .1, queries, classes"):
        converted(source)


def test_a_plain_network_says_so_beside_queries(tmp_path: Path) -> None:
    source = mask_network(tmp_path / "net.onnx", maps={"semantic": (3, 4)})
    assert converted(source, output="semantic")[0].training["output"].startswith("semantic: NCHW, logits, 3 channels")
