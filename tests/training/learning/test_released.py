"""The released FCNs as starts: files of pytorch-fcn's layout and of Caffe's arrays, made here, compute what they did."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from model.networks.builder import build
from model.networks.fcn import FCN
from model.networks.servable import normalise
from tests.support.model.reference.released import FCN8sAtOnce
from tests.support.variants import long
from training.learning.starts import read_start

pytestmark = pytest.mark.usefixtures("quick_vgg16")
CLASSES, WIDTH = 3, 6
CAFFE_MEAN = (104.00698793, 116.66876762, 122.67891434)  # blue, green, red


@cache
def network() -> nn.Module:
    """The released at-once network with a narrow fc6 and fc7, in evaluation mode."""
    torch.manual_seed(0)
    with torch.device("meta"):
        net = FCN8sAtOnce(CLASSES)
    net.fc6, net.fc7, net.score_fr = nn.Conv2d(512, WIDTH, 7), nn.Conv2d(WIDTH, WIDTH, 1), nn.Conv2d(WIDTH, CLASSES, 1)
    state = {
        name: torch.randn(tensor.shape) * (2 / tensor[0].numel()) ** 0.5 if tensor.ndim > 1 else torch.randn(tensor.shape) * 0.1
        for name, tensor in net.state_dict().items()
    }
    net.load_state_dict(state, assign=True)
    return net.eval()


def released_state() -> dict[str, Tensor]:
    """The network's tensors by the names of Caffe's layers."""
    convolutions = [f"conv{stage}_{n}" for stage, last in enumerate((2, 2, 3, 3, 3), 1) for n in range(1, last + 1)]
    state = network().state_dict()
    vgg16 = [name.rpartition(".")[0] for name in state if name.startswith("vgg16.") and name.endswith(".weight")]
    names = dict(zip(vgg16, convolutions, strict=True))
    return {f"{names.get(n.rpartition('.')[0], n.rpartition('.')[0])}.{n.rpartition('.')[2]}": t for n, t in state.items()}


def caffe_arrays() -> dict[str, np.ndarray]:
    """As an old file of Caffe has them: four axes each."""
    arrays = {}
    for name, tensor in released_state().items():
        shape = (1, 1, 1, -1) if tensor.ndim == 1 else (1, 1, len(tensor), -1) if name == "fc6.weight" else tensor.shape
        arrays[name] = tensor.reshape(shape).numpy()
    return arrays


def ours(classes: int = CLASSES, **options: object) -> FCN:
    arguments = {"head": "fc", "head_width": WIDTH, "decoder": "padded", "score_scales": (0.01, 0.0001)} | options
    return build("fcn8s", "vgg16", classes, **arguments)


def field(number: int, content: bytes) -> bytes:
    """A protocol buffer's field of this content, which its length precedes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + varint(value >> 7)


def blob(array: np.ndarray, *, old: bool) -> bytes:
    """Caffe's BlobProto: the numbers, and the shape or the four axes of older files."""
    if old:
        axes = array.shape if array.ndim == 4 else (1, 1, 1, array.size)
        shape = b"".join(varint(number << 3) + varint(side) for number, side in enumerate(axes, 1))
    else:
        shape = field(7, field(1, b"".join(map(varint, array.shape))))
    return shape + field(5, array.astype("<f4").tobytes())


def caffe_model(arrays: dict[str, np.ndarray], *, old: bool = False) -> bytes:
    """Caffe's NetParameter: a layer of data without blobs, then the layers of these arrays."""
    numbers = {"layer": 2, "name": 4, "blobs": 6} if old else {"layer": 100, "name": 1, "blobs": 7}
    layers = {"data": b""}
    for name, array in arrays.items():
        layer, _, kind = name.rpartition(".")
        assert kind in ("weight", "bias")
        layers[layer] = layers.get(layer, b"") + field(numbers["blobs"], blob(array, old=old))
    texts = {layer: field(numbers["name"], layer.encode()) + blobs for layer, blobs in layers.items()}
    return field(1, b"FCN") + b"".join(field(numbers["layer"], text) for text in texts.values())


@pytest.fixture(params=["pth", "caffemodel", *long("old caffemodel", "safetensors")])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    path = tmp_path / f"fcn8s-atonce.{request.param.split()[-1]}"
    if path.suffix == ".caffemodel":
        path.write_bytes(caffe_model(caffe_arrays(), old=request.param.startswith("old")))
    elif path.suffix == ".safetensors":
        save_file(released_state(), path)
    else:
        torch.save({"model_state_dict": released_state()}, path)
    return str(path)


def test_a_released_network_computes_the_same_from_rgb_pixels(file: str) -> None:
    net = ours().eval()
    assert read_start(file).load(net) == []
    pixels = torch.randint(0, 256, (1, 3, 37, 45), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    preprocessing = read_start(file).preprocessing("vgg16")
    with torch.inference_mode():
        logits = net(normalise(pixels, preprocessing))
        expected = network()(pixels.flip(1).float() - torch.tensor(CAFFE_MEAN).view(1, 3, 1, 1))
    assert expected.std() > 0
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_other_classes_keep_new_scores_and_rows_choose_them(tmp_path: Path) -> None:
    file = tmp_path / "released.pth"
    torch.save(released_state(), file)
    new = read_start(str(file)).load(ours(2))
    assert {name.split(".")[0] for name in new} == {
        "score_fr", "score_pool4", "score_pool3", "upscore2", "upscore_pool4", "upscore8",
    }  # fmt: skip
    net = ours(2)
    read_start(str(file)).load(net, rows=[2, 0])
    assert torch.equal(net.state_dict()["score_fr.weight"], released_state()["score_fr.weight"][[2, 0]])


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"conv3_2.bias": None}, {}, r"the file lacks conv3_2\.bias of a released FCN"),
        ({"fc7.weight": torch.zeros(5, 6, 1, 1)}, {}, r"fc7\.weight must have shape \(6, 6, 1, 1\), got \(5, 6, 1, 1\)"),
        ({}, {"head": "none", "decoder": "aligned", "score_scales": (1, 1)}, "backbone vgg16 and head fc, got vgg16 and none"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, change: dict[str, Tensor | None], options: dict[str, object], message: str
) -> None:
    state = {name: tensor for name, tensor in (released_state() | change).items() if tensor is not None}
    torch.save(state, tmp_path / "released.pth")
    with pytest.raises(ValueError, match=message):
        read_start(str(tmp_path / "released.pth")).load(ours(**options))


@pytest.mark.parametrize(
    "content",
    [b"", caffe_model({"fc6.weight": np.ones(4)})[:-3], field(100, field(1, b"fc6") + field(7, field(7, field(1, b"\3"))))],
)
def test_a_caffemodel_that_is_none_or_damaged_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"net\.caffemodel (is not a file of Caffe, or is damaged|holds no tensors)"):
        read_start(str(path))
