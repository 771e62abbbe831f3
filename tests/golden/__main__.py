"""`python -m tests.golden` writes the masks anew, after the default weights have changed."""

from __future__ import annotations

from pathlib import Path

from cli.main import main
from tests.support.checkout import ROOT

PHOTOS = ("chelsea", "astronaut")

if __name__ == "__main__":
    files = [str(ROOT / "docs" / "photos" / f"{name}.jpg") for name in PHOTOS]
    raise SystemExit(main([*files, "-o", str(Path(__file__).parent), "--force", "--device", "cpu", "--precision", "float32"]))
