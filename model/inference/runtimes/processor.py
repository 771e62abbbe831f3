"""The processor's instruction sets, which decide whether int8 is fast here and how its products are summed."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from model.manifest import Int8Sums

VNNI_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}
HELD_BACK = ("AVX2", "AVX512_CORE")  # values of ONEDNN_MAX_CPU_ISA with which oneDNN does not use VNNI


def int8_sums() -> Int8Sums | None:
    """How this processor sums int8 products: `vnni` in 32 bits (VNNI, AMX), `avx2` in 16 bits; None where int8 is slow.

    None also outside Linux on x86. Respects oneDNN's variable `ONEDNN_MAX_CPU_ISA`, with which one processor can stand in
    for an older kind.
    """
    flags, most = cpu_flags(), os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if platform.machine().lower() not in ("x86_64", "amd64") or most in ("SSE41", "AVX"):
        return None
    if flags & VNNI_FLAGS and most not in HELD_BACK:
        return "vnni"
    return "avx2" if "avx2" in flags else None


def cpu_flags() -> set[str]:
    """The instruction sets that Linux reports; an empty set on other systems."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split()}
