"""What is to be segmented, and where each answer goes."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
STDIO = "-"


@dataclass(frozen=True)
class Item:
    """One image to segment, and where its answer goes; None is stdin or stdout."""

    source: Path | None
    target: Path | None

    @property
    def name(self) -> str:
        return str(self.source or "stdin")

    @property
    def done(self) -> bool:
        """Whether its answer is there; answers are written whole or not at all."""
        return self.target is not None and self.target.exists()


def plan_items(inputs: Sequence[str], out: str, suffix: str) -> list[Item]:
    """The images among files, folders, patterns and `-`; folders are mirrored below the output folder.

    Raises `OSError` where there is none, or where an answer would overwrite another or an image.
    """
    items = list(_plan(inputs, out, suffix))
    _check_targets(items)
    return items


def _plan(inputs: Sequence[str], out: str, suffix: str) -> Iterator[Item]:
    single = len(inputs) == 1 and (inputs[0] == STDIO or Path(inputs[0]).is_file())
    if single and (out == STDIO or Path(out).suffix == suffix):
        yield Item(_path(inputs[0]), _path(out))
        return
    if out == STDIO:
        raise OSError("-o - takes one image; give a folder for several")
    for name in inputs:
        if name == STDIO:
            yield Item(None, Path(out) / f"stdin{suffix}")
            continue
        for file, relative in _files(name):
            yield Item(file, (Path(out) / relative).with_suffix(suffix))


def _files(name: str) -> list[tuple[Path, Path]]:
    """The images of a file's name, a folder's or a pattern, each with its path below the output folder."""
    path = Path(name)
    if path.is_file():
        return [(path, Path(path.name))]
    if path.is_dir():
        root, found = path, list(path.rglob("*"))
    elif glob.has_magic(name):
        root = _fixed_part(path)
        found = [Path(match) for match in glob.glob(name, recursive=True)]
    else:
        raise OSError(f"no file or folder {name!r}")
    files = sorted(file for file in found if file.suffix.lower() in ENDINGS and file.is_file())
    if not files:
        raise OSError(f"no images in {name!r}; their names end in {', '.join(sorted(ENDINGS))}")
    return [(file, file.relative_to(root)) for file in files]


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern before the first that is one."""
    fixed = Path()
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def _check_targets(items: Sequence[Item]) -> None:
    sources = {item.source.resolve() for item in items if item.source}
    targets: dict[Path, Item] = {}
    for item in items:
        if item.target is None:
            continue
        target = item.target.resolve()
        if target in sources:
            raise OSError(f"{item.target} would overwrite an image; give another -o")
        if (other := targets.setdefault(target, item)) is not item:
            raise OSError(f"{other.name} and {item.name} would both become {item.target}")


def _path(name: str) -> Path | None:
    return None if name == STDIO else Path(name)
