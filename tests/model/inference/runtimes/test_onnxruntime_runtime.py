"""ONNX Runtime as a runtime: the logits of OpenVINO, its errors, and a converted network on CUDA."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.runtime import DeviceLost, DeviceOutOfMemory, Runtime, RuntimeUnavailable
from model.inference.runtimes.onnxruntime_runtime import ONNXRuntime, _mapped_errors, sees_gpu
from model.inference.segmenter import Segmenter
from model.weights_file import WeightsFiles, find_files
from tests.support.images import make_photo
from tests.support.runtimes import needs_gpu

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=[pytest.mark.cuda, needs_gpu, pytest.mark.skipif(not sees_gpu(), reason="needs onnxruntime-gpu")]
    ),
]


@pytest.fixture(scope="module")
def files(narrow_file: Path) -> WeightsFiles:
    """The export alone, as of a converted network."""
    return replace(find_files(str(narrow_file)), master=None)


@pytest.mark.parametrize("device", DEVICES)
def test_it_gives_what_openvino_gives(files: WeightsFiles, openvino_runtime: Runtime, device: str) -> None:
    runtime = load_runtime(files, "onnxruntime", device, threads=1)
    assert runtime.describe() == {
        "runtime": "onnxruntime",
        "version": runtime.describe()["version"],
        "device": device,
        "precision": "float32",
        "file_sha256": openvino_runtime.file_sha256,
    }
    assert replace(runtime.identity, runtime="openvino") == replace(openvino_runtime.identity, instructions="")
    assert (runtime.stride, runtime.grid) == (openvino_runtime.stride, openvino_runtime.grid)
    for shape in [(32, 32), (64, 96)]:
        tiles = [make_photo(*shape, seed) for seed in range(3)]
        actual, expected = runtime.logits(tiles), openvino_runtime.logits(tiles)
        assert actual.shape == expected.shape
        assert actual.dtype == np.float32
        assert np.allclose(actual, expected, atol=1e-4 * float(np.abs(expected).max()))
    plan = Segmenter(runtime).plan_size((90, 130), Options((64, 64), side="native"))
    photo = make_photo(90, 130, 5)
    maps = [Segmenter(each).infer(photo, plan).class_map for each in (runtime, openvino_runtime)]
    assert (maps[0] == maps[1]).mean() >= 0.999


@pytest.mark.parametrize("device", ["mps", "cpu:1", "cuda:first", ""])
def test_other_devices_are_refused(files: WeightsFiles, device: str) -> None:
    with pytest.raises(RuntimeUnavailable, match=f"ONNX Runtime serves on cuda, cuda:N or cpu, got device '{device}'"):
        ONNXRuntime(files.exports["float32"], device)


@pytest.mark.skipif(sees_gpu(), reason="this ONNX Runtime is built for CUDA")
def test_without_cuda_it_says_how_to_get_it(files: WeightsFiles) -> None:
    for runtime in ("auto", "onnxruntime"):
        with pytest.raises(RuntimeUnavailable, match=r"not built for CUDA; .*onnx-gpu.* in an environment without"):
            load_runtime(files, runtime, "cuda")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BFCArena: Available memory of 5 is smaller than requested bytes of 7", DeviceOutOfMemory),
        ("Failed to allocate memory for requested buffer of size 9", DeviceOutOfMemory),
        ("CUDA failure 2: out of memory", DeviceOutOfMemory),
        ("CUDA failure 700: an illegal memory access was encountered", DeviceLost),
    ],
)
def test_its_errors_are_those_of_every_runtime(text: str, expected: type[Exception]) -> None:
    for loading in ("", "cannot load net"):
        with pytest.raises(expected), _mapped_errors(loading):
            raise RuntimeError(text)


def test_a_network_that_it_cannot_load_is_told(files: WeightsFiles) -> None:
    with pytest.raises(RuntimeUnavailable, match="cannot load net: no such operator"), _mapped_errors("cannot load net"):
        raise RuntimeError("no such operator")
