"""The default network in other runtimes, on the processor: what each would gain, for those that are installed."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.results import Ratio, Row, Section
from benchmarks.serving import ROOT
from benchmarks.timing import milliseconds
from model.cores import available_cores
from model.device import choose_dtype, dtype_name
from model.folding import fold_batch_norm
from model.predictor import Predictor
from model.weights_file import DEFAULT_WEIGHTS, find_weights, load_weights

TILE = (384, 480)
TEXT = """\
One 384x480 tile of the default network, normalised already, to its scores, on all cores; each runtime in a process of its
own, one after the other. `served` is what the service runs on this machine by default. Agreement is the share of cells with
the same highest class as torch in float32 gives."""
Run = Callable[[], np.ndarray[Any, np.dtype[np.float32]]]


class ScoresModule(nn.Module):
    """A network's `scores` as the module's call, which is what other runtimes take over."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.net.scores(images)  # type: ignore[operator]
        return scores


def scores_module(dtype: str) -> ScoresModule:
    """The folded network as a function of one tensor."""
    net = load_weights(find_weights(DEFAULT_WEIGHTS)).network()
    fold_batch_norm(net)
    return ScoresModule(net.to(getattr(torch, dtype)).to(memory_format=torch.channels_last)).eval()


def served_module(dtype: str) -> ScoresModule:
    """The network as the service runs it on a processor."""
    return ScoresModule(Predictor(load_weights(find_weights(DEFAULT_WEIGHTS)), "cpu", dtype).net).eval()


def image() -> Tensor:
    noise = np.random.default_rng(0).normal(0, 0.5, (1, 3, TILE[0] // 8, TILE[1] // 8)).astype(np.float32)
    return nn.functional.interpolate(torch.from_numpy(noise), size=TILE, mode="bilinear").clamp(-1, 1)


def with_torch(dtype: str, *, compiled: bool = False) -> Run:
    net = scores_module(dtype) if compiled else served_module(dtype)
    scores: Callable[[Tensor], Tensor] = net
    images = image().to(getattr(torch, dtype)).to(memory_format=torch.channels_last)
    if compiled:
        setattr(import_module("torch._inductor.config"), "freezing", True)  # noqa: B010
        scores = torch.compile(net)

    def run() -> np.ndarray[Any, np.dtype[np.float32]]:
        with torch.inference_mode():
            return np.asarray(scores(images).float())

    return run


def with_onnxruntime() -> Run:
    runtime = import_module("onnxruntime")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        torch.onnx.export(scores_module("float32"), (image(),), path, input_names=["images"], dynamo=True, external_data=False)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = available_cores()
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    images = image().numpy()
    return lambda: np.asarray(session.run(None, {"images": images})[0])


def with_openvino(precision: str) -> Run:
    openvino = import_module("openvino")
    model = openvino.convert_model(scores_module("float32"), example_input=image())
    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": available_cores(), "PERFORMANCE_HINT": "LATENCY"}
    compiled, images = openvino.Core().compile_model(model, "CPU", hints), image().numpy()
    return lambda: np.asarray(compiled(images)[0])


KINDS: dict[str, Callable[[], Run]] = {
    "torch, float32": lambda: with_torch("float32"),
    "torch, bfloat16": lambda: with_torch("bfloat16"),
    "torch.compile with freezing, float32": lambda: with_torch("float32", compiled=True),
    "torch.compile with freezing, bfloat16": lambda: with_torch("bfloat16", compiled=True),
    "ONNX Runtime, float32": with_onnxruntime,
    "OpenVINO, float32": lambda: with_openvino("f32"),
    "OpenVINO, bfloat16": lambda: with_openvino("bf16"),
}


def run(*, quick: bool, python: str) -> Section:
    times: dict[str, list[float]] = {}
    agreement: dict[str, float] = {}
    for kind in list(KINDS)[:2] if quick else KINDS:
        if found := measured(kind, python, 3 if quick else 20):
            times[kind], agreement[kind] = found
    served_kind = f"torch, {dtype_name(choose_dtype('auto', torch.device('cpu')))}"
    rows = [Row.of(f"{kind} (served)" if kind == served_kind else kind, values, "ms") for kind, values in times.items()]
    served = statistics.median(times[served_kind])
    ratios = [Ratio(f"time, {kind} / served", statistics.median(values) / served) for kind, values in times.items()]
    ratios += [Ratio(f"agreement, {kind}", value) for kind, value in agreement.items()]
    return Section("Runtimes", TEXT, rows, ratios)


def measured(kind: str, python: str, times: int) -> tuple[list[float], float] | None:
    """Milliseconds and agreement, or None where the runtime is not installed or cannot run the network."""
    command = [python, "-m", "benchmarks.backends", kind, str(times)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        print(f"fcn-bench: {kind}: {reason}", file=sys.stderr)
        return None
    found: tuple[list[float], float] = tuple(json.loads(result.stdout.splitlines()[-1]))
    return found


def main() -> int:
    """One runtime's milliseconds and agreement, as JSON."""
    torch.set_num_threads(available_cores())
    call = KINDS[sys.argv[1]]()
    taken, scores = milliseconds(call, int(sys.argv[2]), warm_up=5), call()
    expected = KINDS["torch, float32"]()()
    print(json.dumps([taken, float((scores.argmax(1) == expected.argmax(1)).mean())]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
