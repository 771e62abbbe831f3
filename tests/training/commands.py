"""How `fcn-train` is called on the generated shapes."""

from __future__ import annotations

from pathlib import Path


def on_shapes(shapes: Path, recipe: Path, out: Path, *extra: str) -> list[str]:
    names = ["--data", shapes, "--labels", shapes / "classes.json", "--recipe", recipe, "--out", out, "--threads", "1"]
    return [*map(str, names), "--device", "cpu", *extra]
