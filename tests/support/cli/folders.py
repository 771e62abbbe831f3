"""Images to segment, and folders of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.images import encoded, make_photo

Segment = Callable[..., int]
PHOTO = encoded(make_photo(70, 101))
OTHER = encoded(make_photo(40, 33, seed=1), "JPEG")


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
