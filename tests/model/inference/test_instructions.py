"""Which instructions oneDNN uses, and the choice between two limits, measured in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Set
from pathlib import Path

import pytest

from model.inference import cores
from model.inference import instructions as kind
from model.inference.instructions import (
    AMX,
    CPU_ISAS,
    ISA_FLAGS,
    VARIABLE,
    VNNI,
    Decision,
    instructions,
    kept_gain,
    limit_instructions,
    measure_instructions,
    tile_seconds,
)
from model.inference.runtime import RuntimeUnavailable
from model.weights_file import DEFAULT_WEIGHTS, find_files
from tests.support.polling import HANG_S

INT8 = find_files(DEFAULT_WEIGHTS).exports["int8"]
HYBRID = {"avx2", "avx_vnni"}
HAS_VNNI = ISA_FLAGS[VNNI] <= cores.cpu_flags()
WITH_VNNI = pytest.mark.skipif(not HAS_VNNI, reason="compares VNNI with AVX2")
# a process that prefers AVX2 to the processor's own instructions if a tile then has this share of the speed
PROGRAM = """
import hashlib, json, sys
from pathlib import Path
import numpy as np
from model.inference.instructions import DECISION, instructions, limit_instructions, measure_instructions
from model.inference.runtimes.openvino_runtime import OpenVINORuntime, read_export

path, least_gain = Path(sys.argv[1]), float(sys.argv[2])
read_export(path)  # as before an automatic choice of the precision
limit_instructions("auto")
if instructions() != "AVX2":
    measure_instructions(path, 1, instructions(), "AVX2", least_gain)
runtime = OpenVINORuntime(path, 1)
logits = runtime.logits([np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)])
print(json.dumps(runtime.describe() | {"reason": DECISION.reason, "logits": hashlib.sha256(logits.tobytes()).hexdigest()}))
"""


@pytest.fixture(autouse=True)
def undecided(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a process that has loaded no network yet, with a cache of its own."""
    monkeypatch.setattr(kind, "DECISION", Decision())
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def with_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "cpu_flags", lambda: ISA_FLAGS[AMX])


def run(least_gain: float, limit: str = "") -> dict[str, str]:
    """What a new process says of its network."""
    command, environment = [sys.executable, "-c", PROGRAM, str(INT8), str(least_gain)], os.environ | {VARIABLE: limit}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=HANG_S)
    facts: dict[str, str] = json.loads(result.stdout)
    return facts


@pytest.mark.parametrize(
    ("flags", "limit", "name"),
    [
        (ISA_FLAGS[AMX], "", AMX),
        (ISA_FLAGS[AMX], "AVX512_CORE_AMX_FP16", AMX),
        (ISA_FLAGS[AMX], VNNI, VNNI),
        (ISA_FLAGS[AMX], "AVX512_CORE_FP16", VNNI),
        (ISA_FLAGS[AMX], "AVX512_CORE", "AVX512_CORE"),
        (ISA_FLAGS[VNNI], "", VNNI),
        (ISA_FLAGS[VNNI], AMX, VNNI),
        (ISA_FLAGS[VNNI], "AVX2_VNNI", "AVX2"),
        (ISA_FLAGS[VNNI] | {"avx_vnni"}, "AVX2_VNNI_2", "AVX2_VNNI"),
        (HYBRID, "", "AVX2_VNNI"),
        (HYBRID, "AVX512_CORE", "AVX2"),
        ({"avx2"}, "avx2", "AVX2"),
        ({"avx2"}, "AVX", ""),
        ({"asimd"}, "", ""),
    ],
)
def test_the_instructions_follow_from_the_processor_and_the_limit(
    flags: Set[str], limit: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "cpu_flags", lambda: flags)
    monkeypatch.setenv(VARIABLE, limit)
    assert instructions() == name


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(RuntimeUnavailable, match=r"one of auto, AVX2, .*AVX512_CORE_AMX, got 'AVX3'"):
        limit_instructions("AVX3")
    assert set(CPU_ISAS) == {"auto", *ISA_FLAGS}


@pytest.mark.parametrize(
    ("variable", "limit", "reason"),
    [
        ("", "AVX512_CORE", "the setting AVX512_CORE"),
        ("AVX512_CORE_BF16", "AVX512_CORE_BF16", f"{VARIABLE}=AVX512_CORE_BF16 in the environment, which overrides the setting "
         "AVX512_CORE"),
    ],
)  # fmt: skip
def test_the_first_limit_of_a_process_stays_the_variable_before_the_setting_and_nothing_is_measured(
    variable: str, limit: str, reason: str, with_amx: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, variable)
    limit_instructions("AVX512_CORE")
    measure_instructions(INT8, 1)
    limit_instructions("AVX2")  # too late: the first network decides
    assert (os.environ[VARIABLE], kind.DECISION.reason) == (limit, reason)


@pytest.mark.parametrize("place", ["a file", "no home"])
def test_what_cannot_be_kept_is_not_measured(
    place: str, with_amx: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "tile_seconds", lambda *_: pytest.fail("a tile was measured"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file/cache") if place == "a file" else "relative")
    measure_instructions(INT8, 1)
    assert os.environ[VARIABLE] == ""
    assert kind.DECISION.reason.startswith("oneDNN's default, not measured: ")


def test_a_processor_without_amx_measures_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kind, "cpu_flags", lambda: ISA_FLAGS[VNNI] | {"avx_vnni"})
    monkeypatch.setattr(kind, "tile_seconds", lambda *_: pytest.fail("a tile was measured"))
    measure_instructions(INT8, 1)
    assert (os.environ[VARIABLE], kind.DECISION.reason, list(tmp_path.iterdir())) == ("", "", [])
    kind.DECISION.decide()
    assert kind.DECISION.reason == "oneDNN's default"


@pytest.mark.parametrize(("gain", "limit"), [(1.19, ""), (1.2, VNNI), (0.5, "")])
def test_amx_is_left_for_a_gain_of_at_least_a_fifth(
    gain: float, limit: str, with_amx: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "tile_seconds", lambda _export, _threads, name: gain if name == AMX else 1.0)
    measure_instructions(INT8, 1)
    assert os.environ[VARIABLE] == limit
    assert f"{gain:.2f} times" in kind.DECISION.reason


def test_a_failed_measurement_changes_nothing(with_amx: None, tmp_path: Path) -> None:
    export = tmp_path / "broken.onnx"
    export.write_bytes(b"no network")
    measure_instructions(export, 1)
    assert os.environ[VARIABLE] == ""
    assert "not measured: " in kind.DECISION.reason
    assert not (tmp_path / "cache").exists()


@WITH_VNNI
def test_a_measurement_is_kept_with_the_processor_s_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seconds: list[float] = []

    def measured(export: Path, threads: int, limit: str) -> float:
        seconds.append(tile_seconds(export, threads, limit))
        return seconds[-1]

    monkeypatch.setattr(kind, "tile_seconds", measured)
    gain = kept_gain(INT8, 1, "AVX2", VNNI)
    assert gain == round(seconds[0] / seconds[1], 3)
    assert gain > 1.2
    assert kept_gain(INT8, 1, "AVX2", VNNI) == gain
    (file,) = (tmp_path / "cache/fcn-segment").iterdir()
    assert json.loads(file.read_text())["processor"] == cores.processor_name()
    assert len(seconds) == 2
    monkeypatch.setattr(kind, "tile_seconds", lambda *_: 1.0)
    file.write_text("{")  # as after a full disk
    assert kept_gain(INT8, 1, "AVX2", VNNI) == 1.0
    file.write_text('{"gain": 3}')
    monkeypatch.setattr(kind, "processor_name", lambda: "another")
    assert kept_gain(INT8, 1, "AVX2", VNNI) == 1.0


@pytest.mark.long
@WITH_VNNI
def test_a_process_runs_with_the_limit_that_it_has_chosen() -> None:
    usual, avx2 = run(1.2), run(1.2, "AVX2")
    assert usual["reason"].startswith("measured: ")
    assert avx2["reason"] == "ONEDNN_MAX_CPU_ISA=AVX2 in the environment"
    repeat = run(0.01)  # of the measurement that the first process has kept
    assert (usual["instructions"] != "AVX2", avx2["instructions"], repeat["instructions"]) == (True, "AVX2", "AVX2")
    assert repeat["logits"] == avx2["logits"]
