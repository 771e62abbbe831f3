"""The bands of a data set's images: `bands.json` in its folder, which `fcn-import` writes, names more than three."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from model.preprocessing import MOST_BANDS, RGB
from model.whole_file import write_file
from training.data.problems import DataError
from training.data.strict_text import require_json

BANDS = "bands.json"


def read_bands(root: Path) -> tuple[str, ...]:
    """The names of the bands of a folder's images; `RGB` without a file. Raises `DataError` for a file that says no bands."""
    path = root / BANDS
    if not path.is_file():
        return RGB
    document = require_json(path)
    names = document.get("bands") if isinstance(document, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not 3 <= len(names) <= MOST_BANDS:
        raise DataError(f'{path} must be {{"bands": [...]}} with 3 to {MOST_BANDS} names, got {str(document)[:80]}')
    return tuple(names)


def write_bands(root: Path, bands: Sequence[str]) -> None:
    """Writes the file, or removes it for images of red, green and blue."""
    if tuple(bands) == RGB:
        (root / BANDS).unlink(missing_ok=True)
        return
    write_file(root / BANDS, json.dumps({"bands": list(bands)}) + "\n", follow=False)
