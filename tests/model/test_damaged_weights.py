"""A weights file that ended early, or is another kind of file, is called damaged, whatever is beside it or installed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from model.inference import loading
from model.inference.loading import load_runtime
from model.manifest import WeightsError
from model.weights_file import DEFAULT_WEIGHTS, find_files

WHOLE = find_files(DEFAULT_WEIGHTS)
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda data: data[: len(data) // 2],
    "last byte": lambda data: data[:-1],
    "head": lambda data: data[:300],
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "page": lambda data: b"<!doctype html><title>404</title>",
    "pointer": lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4377232\n",
}


@pytest.mark.parametrize("has_torch", [True, False], ids=["torch", "no torch"])
@pytest.mark.parametrize("exports", [("float32", "int8"), ()], ids=len)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_master_is_called_damaged_and_neither_its_exports_are_blamed_nor_torch_is_asked_for(
    tmp_path: Path, damage: str, exports: Sequence[str], has_torch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert WHOLE.master
    master = tmp_path / WHOLE.master.name
    master.write_bytes(DAMAGES[damage](WHOLE.master.read_bytes()))
    if not has_torch:
        monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None if name == "torch" else name)
    files = replace(WHOLE, master=master, exports={precision: WHOLE.exports[precision] for precision in exports})
    with pytest.raises(WeightsError, match=f"^{re.escape(str(master))} is damaged, or is not a safetensors file: "):
        load_runtime(files)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_an_export_is_called_damaged(tmp_path: Path, damage: str, precision: str) -> None:
    path = tmp_path / WHOLE.exports[precision].name
    path.write_bytes(DAMAGES[damage](WHOLE.exports[precision].read_bytes()))
    for files in (replace(WHOLE, exports={precision: path}), find_files(str(path))):
        with pytest.raises(WeightsError, match=f"^{re.escape(str(path))} is damaged, or no network that OpenVINO reads: "):
            load_runtime(files, "openvino", precision=precision)
