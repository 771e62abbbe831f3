"""The weights file: what is written comes back, and files are found."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.harness.narrow import narrow_net
from model.labels import camvid_labels
from model.manifest import Manifest, WeightsError
from model.networks.servable import half_tensors
from model.preprocessing import Preprocessing
from model.weights_file import DEFAULT_WEIGHTS, WeightsFiles, find_files, find_weights, load_weights, save_weights
from tests.support.model.weights_files import content, write_edited


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    net = narrow_net().to(memory_format=torch.channels_last)  # as training keeps it
    labels = camvid_labels()
    manifest = Manifest(
        net.architecture,
        type(labels)(labels.classes[:4], ignore_index=11),
        Preprocessing((0.4, 0.5, 0.6), (0.2, 0.3, 0.4), 1 / 127, (256, 640)),
        "CC-BY-4.0",
        {"steps": 100, "seed": 1},
        {"val": {"mean_iou": 0.5, "iou": [0.5, None]}},
        {"float32": 1.25, "int8": 1.5},
    )
    path, tensors = tmp_path / "some-name.safetensors", half_tensors(net)
    save_weights(path, tensors, manifest)
    weights = load_weights(path)
    assert weights.manifest == manifest
    assert (weights.name, weights.sha256) == ("some-name", hashlib.sha256(path.read_bytes()).hexdigest())
    assert set(weights.tensors) == set(tensors)
    for name, tensor in tensors.items():
        assert weights.tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(weights.tensors[name], tensor)
    assert [entry.name for entry in tmp_path.iterdir()] == ["some-name.safetensors"]


@pytest.mark.parametrize("ending", ["", ".safetensors"])
def test_the_default_weights_are_found_by_name(ending: str) -> None:
    assert find_weights(DEFAULT_WEIGHTS + ending).name == f"{DEFAULT_WEIGHTS}.safetensors"
    files = find_files(DEFAULT_WEIGHTS + ending)
    assert (files.name, set(files.exports)) == (DEFAULT_WEIGHTS, {"float32", "int8"})
    assert files.master == find_weights(DEFAULT_WEIGHTS)


def test_the_exports_beside_a_master_are_its_files(narrow_file: Path, tmp_path: Path) -> None:
    master, export = tmp_path / "a.b.safetensors", tmp_path / "a.b.onnx"
    shutil.copyfile(narrow_file, master)
    assert find_files(str(master)) == WeightsFiles("a.b", master, {})
    export.touch()
    assert find_files(str(master)) == WeightsFiles("a.b", master, {"float32": export})


@pytest.mark.parametrize(("ending", "precision"), [(".onnx", "float32"), (".int8.onnx", "int8")])
def test_the_path_of_an_export_means_it_alone(tmp_path: Path, ending: str, precision: str) -> None:
    for suffix in (".safetensors", ".onnx", ".int8.onnx"):
        (tmp_path / f"net{suffix}").touch()
    path = tmp_path / f"net{ending}"
    assert find_files(str(path)) == WeightsFiles("net", None, {precision: path})


@pytest.mark.parametrize("find", [find_files, find_weights])
def test_weights_that_are_nowhere_are_refused_with_the_names_there_are(tmp_path: Path, find) -> None:  # type: ignore[no-untyped-def]
    for name in ("no-such-net", str(tmp_path), "", str(tmp_path / "nowhere.onnx")):
        with pytest.raises(WeightsError, match=rf"no weights file '{name}'; give .*weights \(there: .*{DEFAULT_WEIGHTS}.*\)"):
            find(name)


def test_the_digest_is_of_the_bytes_that_were_loaded_though_the_file_is_replaced_meanwhile(
    narrow_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "served.safetensors", tmp_path / "other.safetensors"
    path.write_bytes(narrow_file.read_bytes())
    expected = load_weights(path)
    tensors = content(narrow_file)[1]
    save_weights(other, {name: tensor.numpy() + 1 for name, tensor in tensors.items()}, expected.manifest)
    read = Path.read_bytes

    def read_then_replaced(self: Path) -> bytes:
        data = read(self)
        other.replace(path)
        return data

    monkeypatch.setattr(Path, "read_bytes", read_then_replaced)
    weights = load_weights(path)
    monkeypatch.undo()
    assert weights.sha256 == expected.sha256 != hashlib.sha256(path.read_bytes()).hexdigest()
    for name, tensor in expected.tensors.items():
        np.testing.assert_array_equal(weights.tensors[name], tensor)


def test_tensors_of_types_that_numpy_lacks_are_refused(narrow_file: Path, tmp_path: Path) -> None:
    document, tensors = content(narrow_file)
    path = write_edited(tmp_path, document, {name: tensor.bfloat16() for name, tensor in tensors.items()})
    with pytest.raises(WeightsError, match="has tensors of the type 'BF16'"):
        load_weights(path)
