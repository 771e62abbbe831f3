"""Where something was measured: the machine and the commit."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import torch


def machine(threads: int | None = None) -> str:
    """The processor, the threads in use (default: torch's) and the GPU if any."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line), cpu)
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{cpu}, {threads or torch.get_num_threads()} threads{gpu}"


def commit() -> str:
    """The checkout's commit, or `unknown` outside one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return result.stdout.strip() or "unknown"


def set_threads(threads: int) -> None:
    """Uses this many CPU threads; 0 leaves torch's choice. Raises `ValueError` for less."""
    if threads < 0:
        raise ValueError(f"threads must be 0 or more, got {threads}")
    if threads:
        torch.set_num_threads(threads)
