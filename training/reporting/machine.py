"""The machine and the commit of a measurement."""

from __future__ import annotations

import subprocess
from pathlib import Path

import torch

from model.inference.cores import processor_name


def machine(threads: int | None = None) -> str:
    """The processor, the number of threads (default: torch's) and the GPU, if any, in one line."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{processor_name()}, {threads or torch.get_num_threads()} threads{gpu}"


def commit() -> str:
    """The commit of the checkout, or `unknown` outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return result.stdout.strip() or "unknown"


def set_threads(threads: int) -> None:
    """Sets the number of CPU threads; 0 keeps torch's choice. Raises `ValueError` for a negative number."""
    if threads < 0:
        raise ValueError(f"threads must be 0 or more, got {threads}")
    if threads:
        torch.set_num_threads(threads)
