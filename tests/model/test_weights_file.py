"""The weights file: what is written comes back, and everything wrong with a file is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.labels import camvid_labels
from model.preprocessing import Preprocessing
from model.weights_file import (
    DEFAULT_WEIGHTS,
    METADATA_KEY,
    Manifest,
    Weights,
    WeightsError,
    find_weights,
    load_weights,
    save_weights,
)
from tests.conftest import NAMES, narrow_net

Document = dict[str, Any]


def content(path: Path) -> tuple[Document, dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[METADATA_KEY]), {name: file.get_tensor(name) for name in list(file.keys())}


def written(folder: Path, document: object, tensors: dict[str, Tensor]) -> Path:
    path = folder / "edited.safetensors"
    save_file(tensors, path, {METADATA_KEY: document if isinstance(document, str) else json.dumps(document)})
    return path


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    net = narrow_net()
    labels = camvid_labels()
    manifest = Manifest(
        net.architecture,
        type(labels)(labels.classes[:4], ignore_index=11),
        Preprocessing((0.4, 0.5, 0.6), (0.2, 0.3, 0.4), 1 / 127, (256, 640)),
        "CC-BY-4.0",
        {"steps": 100, "seed": 1},
        {"val": {"mean_iou": 0.5, "iou": [0.5, None]}},
        1.25,
    )
    path = tmp_path / "some-name.safetensors"
    save_weights(path, net, manifest)
    weights = load_weights(path)
    assert weights.manifest == manifest
    assert weights.identity == {"name": "some-name", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert [entry.name for entry in tmp_path.iterdir()] == ["some-name.safetensors"]


def test_the_network_comes_back_within_half_precision_ready_to_run(narrow_file: Path, narrow: Weights) -> None:
    net = narrow.network()
    assert not net.training
    assert net.architecture == narrow.manifest.architecture
    stored = content(narrow_file)[1]
    for name, tensor in net.state_dict().items():
        assert stored[name].dtype == (torch.float16 if tensor.is_floating_point() else tensor.dtype)
        assert tensor.dtype in (torch.float32, torch.int64)
        torch.testing.assert_close(tensor, stored[name].to(tensor.dtype), atol=0, rtol=0)


def test_writing_rounds_to_half_precision_and_no_further(tmp_path: Path, narrow: Weights) -> None:
    net = narrow_net()
    path = tmp_path / "net.safetensors"
    save_weights(path, net, narrow.manifest)
    for name, tensor in load_weights(path).network().state_dict().items():
        torch.testing.assert_close(tensor, net.state_dict()[name], atol=1e-6, rtol=1e-3)


def test_the_header_is_one_json_document_with_the_facts(narrow_file: Path) -> None:
    document, _ = content(narrow_file)
    assert document["format_version"] == 1
    assert document["architecture"] == {
        "variant": "fcn8s",
        "backbone": "mobilenet_v2",
        "num_classes": 4,
        "output_stride": 16,
        "head": "fc",
        "head_width": 16,
        "width": 0.1,
        "skip_width": 0,
        "decoder": "aligned",
        "score_scales": [1.0, 1.0],
    }
    assert document["classes"][1] == {"id": 1, "name": "circle", "color": "#800000"}
    assert [entry["name"] for entry in document["classes"]] == NAMES
    assert document["ignore_index"] == 255
    assert document["preprocessing"]["side"] == [64, 128]
    assert document["license"] == "Apache-2.0"
    assert "calibration" not in document


@pytest.mark.parametrize("key", ["architecture", "classes", "ignore_index", "preprocessing", "license", "training", "scores"])
def test_a_missing_part_of_the_header_is_named(narrow_file: Path, tmp_path: Path, key: str) -> None:
    document, tensors = content(narrow_file)
    del document[key]
    with pytest.raises(WeightsError, match=f"the header lacks '{key}'"):
        load_weights(written(tmp_path, document, tensors))


@pytest.mark.parametrize("document", [{"format_version": 2}, {"format_version": "1"}, {}, [1], None], ids=str)
def test_another_version_is_refused(narrow_file: Path, tmp_path: Path, document: object) -> None:
    if isinstance(document, dict) and document:
        document = content(narrow_file)[0] | document
    with pytest.raises(WeightsError, match=r"format_version must be 1, got (2|'1'|None)"):
        load_weights(written(tmp_path, document, {"a": torch.zeros(1)}))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("architecture.depth", 3, r"unknown architecture arguments \['depth'\]"),
        ("architecture.variant", "fcn4s", "variant must be one of fcn32s, fcn16s, fcn8s, got 'fcn4s'"),
        ("architecture.num_classes", 300, "num_classes must be 1 to 255"),
        ("architecture.num_classes", "4", "architecture"),
        ("architecture", None, "the header is wrong"),
        ("architecture", ["variant"], "the header is wrong"),
        ("classes.1.id", 7, r"class ids must be 0 to n-1 in order, got \[0, 7, 2, 3\]"),
        ("classes.1.id", "one", "the header is wrong"),
        ("classes.1.color", "red", "a color must be written #rrggbb, got 'red'"),
        ("classes.1", {"id": 1, "name": "circle"}, "each class needs id, name and color: 'color'"),
        ("classes", [], "class ids must be 0 to n-1"),
        ("classes", None, "each class needs id, name and color"),
        ("ignore_index", 2, "ignore_index must be 0 to 255 and no class's id, got 2"),
        ("ignore_index", 256, "ignore_index must be 0 to 255"),
        ("preprocessing.channel_order", "BGR", "channel_order must be RGB, got 'BGR'"),
        ("preprocessing.std", [1, 1, 0], "std above 0"),
        ("preprocessing.mean", [1, 1], "mean and std need three values"),
        ("preprocessing.side", [640, 320], "longer side must be 32 <= low <= high"),
        ("preprocessing.side", [640], "the header is wrong"),
        ("preprocessing.gamma", 2.2, "gamma"),
        ("preprocessing", [1], "the header is wrong"),
        ("calibration", {"temperature": 0}, "temperature must be above 0, got 0"),
        ("calibration", {"temperature": -1.5}, "temperature must be above 0, got -1.5"),
        ("calibration", {"temperature": float("nan")}, "temperature must be above 0, got nan"),
        ("calibration", {"temperature": "hot"}, "the header is wrong"),
        ("calibration", None, "the header is wrong"),
    ],
)
def test_what_is_wrong_in_the_header_is_said(
    narrow_file: Path, tmp_path: Path, place: str, value: object, message: str
) -> None:
    document, tensors = content(narrow_file)
    part: Any = document
    *way, last = [int(key) if key.isdigit() else key for key in place.split(".")]
    for key in way:
        part = part[key]
    part[last] = value
    with pytest.raises(WeightsError, match=message):
        load_weights(written(tmp_path, document, tensors))


def test_as_many_labels_as_the_network_has_classes_are_needed(narrow_file: Path, tmp_path: Path) -> None:
    document, tensors = content(narrow_file)
    document["classes"].pop()
    with pytest.raises(WeightsError, match="4"):
        load_weights(written(tmp_path, document, tensors))


def test_a_header_that_is_not_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="the header's 'fcn' is not JSON"):
        load_weights(written(tmp_path, "{", {"a": torch.zeros(1)}))


def test_a_safetensors_file_of_another_program_is_refused(tmp_path: Path) -> None:
    for metadata in (None, {"format": "pt"}):
        save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors", metadata)
        with pytest.raises(WeightsError, match=r"other\.safetensors has no 'fcn' in its header"):
            load_weights(tmp_path / "other.safetensors")


def test_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    path = tmp_path / "pickled.safetensors"
    torch.save(Trap(tmp_path / "sprung"), path)
    with pytest.raises(WeightsError, match=r"pickled\.safetensors is not a safetensors file"):
        load_weights(path)
    assert not (tmp_path / "sprung").exists()


class Trap:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.mkdir, (self.path,)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n", b"\x10\0\0\0\0\0\0\0{}", b"\xff" * 100], ids=len)
def test_bytes_that_are_no_safetensors_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"odd\.safetensors is not a safetensors file"):
        load_weights(path)


def test_a_truncated_file_is_refused(narrow_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    path.write_bytes(narrow_file.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="is not a safetensors file"):
        load_weights(path)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.safetensors"):
        load_weights(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("score_fr.bias", None, "edited: 1 tensors are missing or unknown, score_fr.bias first"),
        ("extra.weight", torch.zeros(1), "edited: 1 tensors are missing or unknown, extra.weight first"),
        ("score_fr.bias", torch.zeros(5), r"edited: score_fr.bias must have shape \(4,\), got \(5,\)"),
    ],
    ids=["missing", "unknown", "wrong shape"],
)
def test_tensors_that_do_not_fit_are_named(
    narrow_file: Path, tmp_path: Path, name: str, tensor: Tensor | None, message: str
) -> None:
    document, tensors = content(narrow_file)
    tensors.pop(name, None)
    if tensor is not None:
        tensors[name] = tensor
    with pytest.raises(WeightsError, match=message):
        load_weights(written(tmp_path, document, tensors)).network()


def test_weights_are_found_by_path(narrow_file: Path) -> None:
    assert find_weights(str(narrow_file)) == narrow_file


@pytest.mark.parametrize("ending", ["", ".safetensors"])
def test_the_default_weights_are_found_by_name(ending: str) -> None:
    assert find_weights(DEFAULT_WEIGHTS + ending).name == f"{DEFAULT_WEIGHTS}.safetensors"


def test_weights_that_are_nowhere_are_refused_with_where_they_were_sought(tmp_path: Path) -> None:
    for name in ("no-such-net", str(tmp_path), ""):
        with pytest.raises(
            WeightsError, match=rf"no weights file '{name}'; give a file's path or a name in .*weights \(there: "
        ):
            find_weights(name)
