"""Which instructions oneDNN, which computes for OpenVINO, uses on this processor, and whether fewer are faster.

oneDNN reads the variable `ONEDNN_MAX_CPU_ISA` when it compiles the first network of a process, and keeps to it from then on. So
a process has one limit, which is decided before that. Only AMX is measured: on some virtual machines, int8 is slower with it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Set
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, get_args

from common.whole_file import check_output, write_file
from model.inference.cores import cpu_flags, processor_name
from model.inference.runtime import RuntimeUnavailable
from model.manifest import Int8Sums

CpuIsa = Literal["auto", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_AMX"]
CPU_ISAS: tuple[str, ...] = get_args(CpuIsa)
VARIABLE = "ONEDNN_MAX_CPU_ISA"
AMX, VNNI = "AVX512_CORE_AMX", "AVX512_CORE_VNNI"
ISA_FLAGS: dict[str, Set[str]] = {
    AMX: {"avx2", "avx512bw", "avx512_vnni", "amx_int8"},
    VNNI: {"avx2", "avx512bw", "avx512_vnni"},
    "AVX512_CORE": {"avx2", "avx512bw"},
    "AVX2_VNNI": {"avx2", "avx_vnni"},
    "AVX2": {"avx2"},
}
"""What Linux calls the instructions of each set; the widest set first. https://uxlfoundation.github.io/oneDNN/"""
ALIKE = {"AVX512_CORE_BF16": VNNI, "AVX512_CORE_FP16": VNNI, "AVX2_VNNI_2": "AVX2_VNNI"}
"""Sets of oneDNN that differ only in bfloat16 and float16, which are not used."""
WITHOUT_AVX2 = ("SSE41", "AVX")
DEFAULT = "oneDNN's default"
LEAST_GAIN = 1.2
MEASURE_S = 60.0  # most seconds of a measurement's process
log = logging.getLogger("segment")


@dataclass
class Decision:
    """Why this process uses the instructions that it uses; empty until it is decided, and if OpenVINO runs no network."""

    reason: str = ""

    def decide(self) -> None:
        """Call it when a network is compiled, after which oneDNN takes no other limit."""
        self.reason = self.reason or DEFAULT


DECISION = Decision()


def instructions() -> str:
    """oneDNN's name of the widest set that this processor has and that the limit allows; empty outside Linux on x86."""
    limit, flags = os.environ.get(VARIABLE, "").upper(), cpu_flags()
    limit = ALIKE.get(limit, limit)
    if limit in WITHOUT_AVX2:
        return ""
    return next((name for name, needs in ISA_FLAGS.items() if needs <= flags & ISA_FLAGS.get(limit, flags)), "")


def int8_sums() -> Int8Sums | None:
    """How this processor sums int8 products: `vnni` in 32 bits (VNNI, AMX), `avx2` in 16 bits; None where int8 is slow.

    None also outside Linux on x86. With a limit, one processor can stand in for an older kind.
    """
    name = instructions()
    return None if not name else "avx2" if name in ("AVX2", "AVX512_CORE") else "vnni"


def limit_instructions(cpu_isa: str) -> None:
    """Limits this process to these instructions, unless a user has set the variable; `auto` sets no limit.

    The first limit of a process stays. Call it on one thread at a time. Raises `RuntimeUnavailable` for a name that is none of
    `CPU_ISAS`.
    """
    if cpu_isa not in CPU_ISAS:
        raise RuntimeUnavailable(f"the instructions must be one of {', '.join(CPU_ISAS)}, got {cpu_isa!r}")
    if DECISION.reason:
        return
    if limit := os.environ.get(VARIABLE):
        effect = "" if cpu_isa in ("auto", limit.upper()) else f", which overrides the setting {cpu_isa}"
        DECISION.reason = f"{VARIABLE}={limit} in the environment{effect}"
    elif cpu_isa != "auto":
        os.environ[VARIABLE] = cpu_isa
        DECISION.reason = f"the setting {cpu_isa}"


def measure_instructions(
    export: Path, threads: int, usual: str = AMX, other: str = VNNI, least_gain: float = LEAST_GAIN
) -> None:
    """Limits this process to `other` if that is faster by `least_gain` for an int8 export.

    Does nothing if the process has a limit, or if the processor's own instructions are not the `usual` ones. Measures once for
    each processor, file and version of OpenVINO, and only where the result can be kept.
    """
    if DECISION.reason or instructions() != usual:
        return
    try:
        gain = kept_gain(export, threads, usual, other)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        DECISION.reason = f"{DEFAULT}, not measured: {error}"
        return
    if gain >= least_gain:
        os.environ[VARIABLE] = other
    DECISION.reason = f"measured: with {other}, a tile is {gain:.2f} times as fast as with {usual}"


def kept_gain(export: Path, threads: int, usual: str, other: str) -> float:
    """How many times as fast a tile is with the limit `other` as with the limit `usual`: as it is kept, else measured and kept.

    Raises `OSError` if it cannot be kept; then it measures nothing. Else raises as `tile_seconds`.
    """
    sha256 = hashlib.sha256(export.read_bytes()).hexdigest()
    facts = {"processor": processor_name(), "openvino": version("openvino"), "sha256": sha256, "limits": [usual, other]}
    path = cache_folder() / f"instructions-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):  # it is not there, or not whole
        return float(json.loads(path.read_text())["gain"])
    check_output(path)
    log.info("measures a tile with %s and with %s", usual, other)
    gain = round(tile_seconds(export, threads, usual) / tile_seconds(export, threads, other), 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(facts | {"gain": gain}))
    return gain


def cache_folder() -> Path:
    """`fcn-segment` in `XDG_CACHE_HOME`, or in `.cache` of the home folder. Raises `OSError` if there is neither."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if not folder.is_absolute():
        raise OSError("there is no home folder; set XDG_CACHE_HOME")
    return folder / "fcn-segment"


def tile_seconds(export: Path, threads: int, limit: str) -> float:
    """Seconds of a tile of this export in a process of its own with this limit.

    Raises `OSError`, `ValueError`, or `subprocess.SubprocessError` if the process fails or takes too long.
    """
    environment = os.environ | {VARIABLE: limit, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    command = [sys.executable, "-P", "-m", "model.inference.tile_time", str(export), str(threads)]
    return float(subprocess.run(command, env=environment, capture_output=True, check=True, timeout=MEASURE_S).stdout)
