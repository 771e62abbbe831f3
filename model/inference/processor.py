"""What of this processor decides whether int8 is fast, and what it costs."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from model.manifest import Int8Sums

VNNI_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}
HELD_BACK = ("AVX2", "AVX512_CORE")  # values of oneDNN's variable, under which it uses no VNNI


def int8_sums() -> Int8Sums | None:
    """How int8's products are summed here: `vnni` in 32 bits (VNNI, AMX), `avx2` in 16; None where int8 is slow.

    Known under Linux on x86 alone. oneDNN's variable `ONEDNN_MAX_CPU_ISA` counts, by which another kind of processor is tried.
    """
    flags, most = cpu_flags(), os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if platform.machine().lower() not in ("x86_64", "amd64") or most in ("SSE41", "AVX"):
        return None
    if flags & VNNI_FLAGS and most not in HELD_BACK:
        return "vnni"
    return "avx2" if "avx2" in flags else None


def cpu_flags() -> set[str]:
    """Instruction sets that Linux reports; none elsewhere."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split()}
