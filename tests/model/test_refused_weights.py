"""Everything that is wrong with a weights file is named, and nothing in it is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from model.manifest import WeightsError
from model.networks.servable import load_network
from model.weights_file import load_weights
from tests.support.model.weights_files import content, write_edited


@pytest.mark.parametrize("key", ["architecture", "classes", "ignore_index", "preprocessing", "license", "training", "scores"])
def test_a_missing_part_of_the_header_is_named(narrow_file: Path, tmp_path: Path, key: str) -> None:
    document, tensors = content(narrow_file)
    del document[key]
    with pytest.raises(WeightsError, match=f"the header lacks '{key}'"):
        load_weights(write_edited(tmp_path, document, tensors))


@pytest.mark.parametrize("document", [{"format_version": 2}, {"format_version": "1"}, {}, [1], None], ids=str)
def test_another_version_is_refused(narrow_file: Path, tmp_path: Path, document: object) -> None:
    if isinstance(document, dict) and document:
        document = content(narrow_file)[0] | document
    with pytest.raises(WeightsError, match=r"format_version .*got (2|'1'|None)"):
        load_weights(write_edited(tmp_path, document, {"a": torch.zeros(1)}))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("architecture", None, "the header is wrong"),
        ("architecture.num_classes", 5, "the network has 5 classes, its label set 4; both need one number"),
        ("classes.1", {"id": 1, "name": "circle"}, "each class needs id, name and color: 'color'"),
        ("ignore_index", 2, "ignore_index must be 0 to 255 and no class's id, got 2"),
        ("preprocessing.gamma", 2.2, "gamma"),
        ("calibration", {"temperature": 0}, "temperature must be a number above 0, got 0"),
        ("calibration", {"temperature": 1.5, "int8": -1.5}, "temperature must be a number above 0, got -1.5"),
        ("calibration", None, "the header is wrong"),
        *((place, value, r"edited\.safetensors: the header is wrong") for place, value in [
            ("training", []), ("scores", []), ("scores", {"val": 3}), ("preprocessing.mean", "abc"),
            ("preprocessing.mean", [float("nan")] * 3), ("preprocessing.std", [float("nan")] * 3),
        ]),
    ],
)  # fmt: skip
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
        load_weights(write_edited(tmp_path, document, tensors))


def test_a_header_that_is_not_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="'fcn' is not JSON"):
        load_weights(write_edited(tmp_path, "{", {"a": torch.zeros(1)}))


def test_a_safetensors_file_of_another_program_is_refused(tmp_path: Path) -> None:
    for metadata in (None, {"format": "pt"}):
        save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors", metadata)
        with pytest.raises(WeightsError, match=r"other\.safetensors .*'fcn'"):
            load_weights(tmp_path / "other.safetensors")


def test_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    path = tmp_path / "pickled.safetensors"
    torch.save(Trap(tmp_path / "sprung"), path)
    with pytest.raises(WeightsError, match=r"pickled\.safetensors is damaged, or is not a safetensors file"):
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
    with pytest.raises(WeightsError, match=r"odd\.safetensors is damaged, or is not a safetensors file: .*; copy it again"):
        load_weights(path)


def test_a_file_that_ends_early_and_one_that_is_not_there_are_named(narrow_file: Path, tmp_path: Path) -> None:
    (tmp_path / "half.safetensors").write_bytes(narrow_file.read_bytes()[:-1000])
    for name, message in (("half", "is not a safetensors file"), ("nowhere", r"nowhere\.safetensors")):
        with pytest.raises(WeightsError, match=message):
            load_weights(tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("score_fr.bias", None, "edited: 1 tensors are missing or unknown, score_fr.bias first"),
        ("extra.weight", torch.zeros(1), "edited: 1 tensors are missing or unknown, extra.weight first"),
        ("score_fr.bias", torch.zeros(5), r"edited: score_fr.bias must have shape \(4,\), got \(5,\)"),
        *(("score_fr.bias", torch.full((4,), value), r"score_fr\.bias .*NaN") for value in (float("nan"), float("inf"))),
    ],
    ids=["missing", "unknown", "wrong shape", "NaN", "infinite"],
)
def test_tensors_that_do_not_fit_or_are_not_finite_are_named(
    narrow_file: Path, tmp_path: Path, name: str, tensor: Tensor | None, message: str
) -> None:
    document, tensors = content(narrow_file)
    tensors.pop(name, None)
    if tensor is not None:
        tensors[name] = tensor
    with pytest.raises(WeightsError, match=message):
        load_network(load_weights(write_edited(tmp_path, document, tensors)))
