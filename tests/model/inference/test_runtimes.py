"""Both runtimes against each other, from several threads, which one is chosen, and what is said where there is none."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from common.command_line import install_command
from model.inference import instructions as kind
from model.inference import loading as choice
from model.inference.loading import load_runtime, unused_gpu
from model.inference.plan import Options
from model.inference.runtime import Runtime, RuntimeUnavailable
from model.inference.runtimes.openvino_runtime import OpenVINORuntime, read_export
from model.inference.segmenter import Segmenter
from model.manifest import INT8_SCORES, METADATA_KEY, Int8Sums, Manifest, WeightsError, scored_in
from model.weights_file import Weights, WeightsFiles, find_files, save_weights
from tests.support.images import make_photo
from tests.support.imaging.peaks import printed

VNNI_FLAGS = {"avx2", "avx512bw", "avx512_vnni"}
SCORE = {"mean_iou": 0.5, "iou": [0.5] * 4}


@pytest.fixture(scope="module")
def files(narrow_file: Path) -> WeightsFiles:
    return find_files(str(narrow_file))


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without an NVIDIA driver, whose processor has what int8 needs."""
    monkeypatch.setattr(choice, "GPU_DRIVERS", ())
    monkeypatch.setattr(kind, "cpu_flags", lambda: VNNI_FLAGS)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)


def with_facts(source: Path, target: Path, **changes: str) -> Path:
    """A copy of an export whose metadata says other things."""
    model = onnx.load(source)
    facts = {entry.key: entry.value for entry in model.metadata_props} | changes
    onnx.helper.set_model_props(model, {key: value for key, value in facts.items() if value})
    onnx.save(model, target)
    return target


def with_int8(files: WeightsFiles, folder: Path, manifest: Manifest) -> WeightsFiles:
    """The files with a second export that says that it is int8, and this."""
    path = folder / f"{files.name}.int8.onnx"
    with_facts(files.exports["float32"], path, precision="int8", **{METADATA_KEY: manifest.to_json()})
    return replace(files, exports={**files.exports, "int8": path})


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(32, 32), (64, 96), (96, 32)], ids=str)
def test_both_runtimes_say_the_same(files: WeightsFiles, shape: tuple[int, int]) -> None:
    tiles = [make_photo(*shape, seed) for seed in range(3)]
    one, other = (load_runtime(files, name, "cpu", "float32") for name in ("openvino", "torch"))
    actual, expected = one.logits(tiles), other.logits(tiles)
    assert (
        (actual.dtype, actual.shape) == (expected.dtype, expected.shape) == (np.float32, (3, 4, shape[0] // 8, shape[1] // 8))
    )
    assert actual.std() > 0.1
    np.testing.assert_allclose(actual, expected, atol=1e-4)
    assert (one.stride, one.grid, one.manifest) == (other.stride, other.grid, other.manifest)
    plan = Segmenter(one).plan_size(shape, Options((64, 64), side="native"))
    maps = [Segmenter(runtime).infer(tiles[0], plan).class_map for runtime in (one, other)]
    assert (maps[0] == maps[1]).mean() >= 0.999


def test_logits_do_not_depend_on_neighbours_nor_on_how_a_tile_lies_in_memory(runtime: Runtime) -> None:
    tiles = [make_photo(64, 96, seed) for seed in range(3)]
    together = runtime.logits(tiles)
    view = np.pad(tiles[1], ((5, 5), (7, 7), (0, 0)))[5:-5, 7:-7]
    view.flags.writeable = False
    assert np.array_equal(together[1:2], runtime.logits([view]))
    before = together.copy()
    runtime.logits(tiles[::-1])
    assert np.array_equal(together, before)


def test_runtimes_describe_themselves(runtime: Runtime, narrow: Weights) -> None:
    description = runtime.describe()
    instructions = {"instructions"} if runtime.identity.runtime == "openvino" else set()
    assert set(description) == {"runtime", "version", "device", "precision", "file_sha256"} | instructions
    assert description.get("instructions", "") == runtime.identity.instructions
    assert (
        (description["device"], description["precision"]) == (runtime.device, runtime.identity.precision) == ("cpu", "float32")
    )
    assert description["runtime"] == runtime.identity.runtime
    assert (runtime.identity.name, runtime.identity.sha256) == ("narrow", narrow.sha256)
    assert (runtime.max_batch, runtime.max_concurrency) == (1, 1)


@pytest.mark.torch
def test_auto_takes_openvino_with_an_export_and_torch_without(files: WeightsFiles) -> None:
    from model.inference.runtimes.torch_runtime import TorchRuntime

    assert isinstance(load_runtime(files), OpenVINORuntime)
    assert isinstance(load_runtime(replace(files, master=None)), OpenVINORuntime)
    assert isinstance(load_runtime(replace(files, exports={})), TorchRuntime)
    assert isinstance(load_runtime(files, precision="bfloat16", device="cpu"), TorchRuntime)


@pytest.mark.parametrize(
    ("flags", "most", "scores_of", "precision"),
    [
        (VNNI_FLAGS, "", {"vnni"}, "int8"),
        ({"avx2", "avx_vnni"}, "", {"vnni"}, "int8"),
        (VNNI_FLAGS, "", set(), "float32"),
        ({"avx2"}, "", {"vnni"}, "float32"),
        ({"avx2"}, "", {"vnni", "avx2"}, "int8"),
        (VNNI_FLAGS, "AVX2", {"vnni"}, "float32"),
        (VNNI_FLAGS, "AVX512_CORE", {"vnni"}, "float32"),
        ({"sse4_2"}, "", {"vnni", "avx2"}, "float32"),
    ],
)
def test_auto_is_int8_where_the_processor_and_its_kind_s_score_allow_it(
    files: WeightsFiles, narrow: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    flags: set[str], most: str, scores_of: set[Int8Sums], precision: str,
) -> None:  # fmt: skip
    scores: dict[str, Any] = {"val": SCORE} | {
        scored_in("val", name): SCORE if sums in scores_of else SCORE | {"mean_iou": 0.4} for sums, name in INT8_SCORES.items()
    }
    both = with_int8(
        files, tmp_path, replace(narrow.manifest, scores=scores, training={"calibration_int8": {"ece_after": 0.01}})
    )
    monkeypatch.setattr(kind, "cpu_flags", lambda: flags)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", most)
    assert choice._export(both, "auto") == both.exports[precision]
    if flags != {"avx2"}:  # what does not depend on the processor is looked at twice
        return
    assert load_runtime(both).identity.precision == precision
    assert load_runtime(both, precision="int8").identity.precision == "int8"
    assert load_runtime(both, precision="float32").identity.precision == "float32"
    assert load_runtime(find_files(str(both.exports["int8"]))).identity.precision == "int8"


def test_an_export_of_another_master_is_refused(files: WeightsFiles, narrow: Weights, tmp_path: Path) -> None:
    """It would serve the network of before, under the new one's name."""
    export = shutil.copyfile(files.exports["float32"], tmp_path / "narrow.onnx")
    save_weights(tmp_path / "narrow.safetensors", narrow.tensors, replace(narrow.manifest, license="another"))
    with pytest.raises(WeightsError, match=r"the float32 export of narrow was made from a master of sha256 .* make it again"):
        load_runtime(find_files(str(tmp_path / "narrow.safetensors")), "openvino")
    assert load_runtime(find_files(str(export)), "openvino").identity.sha256 == narrow.sha256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("abacus",), "runtime must be one of auto, openvino, torch, onnxruntime, got 'abacus'"),
        (("auto", "auto", "int4"), "precision must be one of auto, float32, int8, bfloat16, float16, got 'int4'"),
        (("openvino", "cuda"), "OpenVINO serves on the CPU, got device 'cuda'; ask for runtime torch or onnxruntime"),
        (("openvino", "cpu", "bfloat16"), "OpenVINO serves in float32 or int8, got 'bfloat16'; ask for runtime torch"),
        (("openvino", "cpu", "int8"), r"narrow has no export in int8 \(there: float32\); fcn-export makes one"),
        (("onnxruntime", "cpu", "int8"), "ONNX Runtime serves in float32, got 'int8'; int8 is for OpenVINO"),
        (("torch", "cpu", "int8"), r"int8 is for OpenVINO: it needs NAME\.int8\.onnx beside the weights"),
        pytest.param(
            ("torch", "abacus"), "device must be auto, cpu, cuda, cuda:N or mps, got 'abacus'", marks=pytest.mark.torch
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_had_is_refused_naming_what_is_missing(
    files: WeightsFiles, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(RuntimeUnavailable, match=message):
        load_runtime(files, *arguments)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("lacking", "arguments", "message"),
    [
        ("exports", ("openvino",), r"no export in float32 .*fcn-export"),
        ("master", ("torch",), r"torch needs narrow\.safetensors"),
        ("master", ("auto", "auto", "bfloat16"), "only its export is there"),
        ("master", ("auto", "auto", "float16"), "only its export is there"),
    ],
)
def test_missing_files_are_named(files: WeightsFiles, lacking: str, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(RuntimeUnavailable, match=message):
        load_runtime(replace(files, **{lacking: None if lacking == "master" else {}}), *arguments)


def test_missing_packages_are_named(files: WeightsFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = {"openvino"}
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: name if name in packages else None)
    assert isinstance(load_runtime(files), OpenVINORuntime)
    with pytest.raises(RuntimeUnavailable, match=r"narrow needs PyTorch here \(device cuda, .* exports: float32\)"):
        load_runtime(files, device="cuda")
    with pytest.raises(RuntimeUnavailable, match=r"exports: none\); .* -m pip install .*\[torch\]"):
        load_runtime(replace(files, exports={}))
    packages.clear()
    with pytest.raises(RuntimeUnavailable, match="pip install openvino"):
        load_runtime(files, "openvino")


def test_a_gpu_that_is_not_used_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unused_gpu() is None
    monkeypatch.setattr(choice, "GPU_DRIVERS", (tmp_path,))
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None)
    assert unused_gpu() == f"there is a GPU, and PyTorch is not installed; to serve on it: {install_command('torch')}"


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" * 20], ids=["empty", "text", "png"])
def test_a_file_that_is_no_export_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.onnx"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"odd\.onnx .*fcn-export"):
        OpenVINORuntime(path)


def test_an_export_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(WeightsError, match=r"folder\.onnx cannot be read: Is a directory"):
        read_export(tmp_path / "folder.onnx")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({METADATA_KEY: ""}, "is no file of fcn-export"),
        ({"sha256": ""}, "is no file of fcn-export"),
        ({"stride": "eight"}, "is no file of fcn-export"),
        ({METADATA_KEY: "{"}, "the header's 'fcn' is not JSON"),
        ({METADATA_KEY: "{}"}, "format_version must be 1, got None"),
    ],
    ids=["no facts", "no sha256", "no stride", "not JSON", "no version"],
)
def test_an_export_whose_facts_are_wrong_is_refused(
    files: WeightsFiles, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        read_export(with_facts(files.exports["float32"], tmp_path / "odd.onnx", **changes))


FIRST_CALLS = """
import sys, threading
from pathlib import Path
import numpy as np
from model.inference.runtimes.openvino_runtime import OpenVINORuntime
sys.setswitchinterval(1e-6)
runtime, barrier = OpenVINORuntime(Path(sys.argv[1]), 1), threading.Barrier(16)
def call():
    barrier.wait()
    runtime.logits([np.zeros((32, 32, 3), np.uint8)])
threads = [threading.Thread(target=call) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.mark.long
@pytest.mark.parametrize("_", range(8))
def test_the_first_calls_of_a_process_may_come_at_once(narrow_file: Path, _: int) -> None:
    printed(FIRST_CALLS, str(narrow_file.with_suffix(".onnx")))


@pytest.mark.parametrize(
    ("device", "precision", "master", "expected"),
    [
        ("auto", "auto", True, "torch"), ("auto", "int8", True, "openvino"), ("cpu", "auto", True, "openvino"),
        ("auto", "float32", True, "torch"), ("auto", "float16", True, "torch"), ("auto", "auto", False, "onnxruntime"),
        ("auto", "float32", False, "onnxruntime"), ("auto", "int8", False, "openvino"), ("cpu", "auto", False, "openvino"),
        ("cuda:1", "auto", False, "onnxruntime"), ("cuda", "auto", True, "torch"),
    ],
)  # fmt: skip
def test_auto_on_a_machine_with_a_gpu(
    files: WeightsFiles, monkeypatch: pytest.MonkeyPatch, device: str, precision: str, master: bool, expected: str
) -> None:
    monkeypatch.setattr(choice, "_sees_gpu", lambda package: True)
    monkeypatch.setattr(choice, "_is_installed", lambda package: True)
    exports = files.exports | {"int8": files.exports["float32"]}
    own = replace(files, exports=exports, master=files.master if master else None)
    assert choice._choose(own, "auto", device, precision) == expected


@pytest.mark.parametrize(("precision", "is_told"), [("auto", True), ("int8", False)])
def test_an_onnx_file_alone_on_a_gpu_that_onnx_runtime_does_not_see(
    files: WeightsFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    precision: str,
    is_told: bool,
) -> None:
    monkeypatch.setattr(choice, "GPU_DRIVERS", (tmp_path,))
    monkeypatch.setattr(choice, "_sees_gpu", lambda package: False)
    own = replace(files, exports=files.exports | {"int8": files.exports["float32"]}, master=None)
    assert choice._choose(own, "auto", "auto", precision) == "openvino"
    assert ("narrow is an ONNX file alone, which runs on the CPU here" in caplog.text) == is_told
    assert ("[onnx-gpu]" in caplog.text) == is_told


TOO_LARGE = """
import resource, sys
from pathlib import Path
import numpy as np
from model.inference.runtimes.openvino_runtime import OpenVINORuntime
runtime = OpenVINORuntime(Path(sys.argv[1]), 1)
runtime.logits([np.zeros((64, 64, 3), np.uint8)])
large = np.zeros((2976, 2976, 3), np.uint8)
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, ((pages << 12) + (50 << 20), resource.RLIM_INFINITY))
try:
    runtime.logits([large])
except MemoryError as error:
    print(error)
"""


def test_a_tile_for_which_there_is_too_little_memory_is_an_error_in_words(narrow_file: Path) -> None:
    assert "too little memory for the network on 2976x2976 pixels" in printed(TOO_LARGE, str(narrow_file.with_suffix(".onnx")))
