"""Files with which other programs run a network of ours. This module needs no PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from model.weights_file import EXPORT_SUFFIXES
from model.whole_file import write_file
from training.publishing import deepness

SUFFIXES = {"deepness": deepness.SUFFIX, "onnxruntime": ".run.py"}


def program_paths(path: Path, programs: Sequence[str]) -> list[Path]:
    """The files beside a float32 export that `write_programs` writes."""
    stem = path.name.removesuffix(EXPORT_SUFFIXES["float32"])
    return [path.with_name(stem + SUFFIXES[program]) for program in programs]


def write_programs(path: Path, programs: Sequence[str], resolution: float | None) -> list[Path]:
    """Writes, beside a float32 export, what each of the programs needs: `deepness`, `onnxruntime`. Gives the paths.

    resolution: see `write_deepness`. Raises as `write_deepness`.
    """
    targets = program_paths(path, programs)
    for program, target in zip(programs, targets, strict=True):
        if program == "deepness":
            deepness.write_deepness(path, target, resolution=resolution)
        else:
            write_file(target, (files("training.publishing") / "run_onnx.py.txt").read_bytes(), follow=False)
    return targets
