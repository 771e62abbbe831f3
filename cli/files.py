"""What is to be segmented, where each answer goes, and how it is written."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
ANSWERS = {".png", ".json", ".npz"}
STDIO = "-"
LONGEST_NAME = 255  # bytes of a file's name, on every file system that is common
DIGEST_LENGTH = 16
APPLE_DOUBLE, APPLE_FOLDER = "._", "__MACOSX"  # what macOS writes beside files on other file systems and in archives


@dataclass(frozen=True)
class Item:
    """One image to segment, and where its answer goes; None is stdin or stdout."""

    source: Path | None
    target: Path | None

    @property
    def name(self) -> str:
        return str(self.source or "stdin")

    @property
    def file_name(self) -> str:
        """The image's name without folders, for answers that hold it; what is not UTF-8 is U+FFFD."""
        return os.fsencode(self.source.name).decode("utf-8", "replace") if self.source else "stdin"

    @property
    def done(self) -> bool:
        """Whether its answer is there; answers are written whole or not at all."""
        return self.target is not None and self.target.exists()


def plan_items(inputs: Sequence[str], out: str, suffix: str, tell: Callable[[str], object] = len) -> list[Item]:
    """The images among files, folders, patterns and `-`; folders are mirrored below the output folder.

    An output folder inside an input folder is no input; nor are linked folders inside one, which `tell` is told of. Raises
    `OSError` where there is no image, or where an answer would overwrite another or an image.
    """
    links = list[Path]()
    items = list(_plan(inputs, out, suffix, links))
    if links:
        tell(f"{len(links)} linked folders are left out, such as {links[0]}; give them as inputs of their own")
    _check_targets(items)
    return items


def write_whole(target: Path, data: bytes) -> None:
    """Writes a file whole or not at all; makes its folder. Raises `OSError`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(target)
    try:
        partial.write_bytes(data)
        partial.replace(target)
    except BaseException:
        remove_partials([target])
        raise


def remove_partials(targets: Iterable[Path]) -> None:
    """Removes what has been written of these files, where they are not whole."""
    for target in targets:
        with suppress(OSError):
            _partial(target).unlink()


def _plan(inputs: Sequence[str], out: str, suffix: str, links: list[Path]) -> Iterator[Item]:
    if "" in (*inputs, out):
        raise OSError("a name is empty, as that of a variable that is not set; give . for the folder here")
    single = len(inputs) == 1 and (inputs[0] == STDIO or Path(inputs[0]).is_file())
    is_folder = Path(out).is_dir() or out.endswith(os.sep)
    if single and (out == STDIO or (Path(out).suffix.lower() == suffix and not is_folder)):
        yield Item(_path(inputs[0]), _path(out))
        return
    if out == STDIO:
        raise OSError("-o - takes one image; give a folder for several")
    if single and not is_folder and Path(out).suffix.lower() in ENDINGS | ANSWERS:
        raise OSError(f"the answer is a {suffix} file, and -o {out} is named otherwise; name it {suffix}, or give a folder")
    if Path(out).exists() and not is_folder:
        raise OSError(f"-o {out} is no folder; give one for the answers")
    for name in inputs:
        if name == STDIO:
            yield Item(None, Path(out) / f"stdin{suffix}")
            continue
        for file, relative in _files(name, Path(out), links):
            yield Item(file, Path(out) / relative.with_name(_fitting(relative.with_suffix(suffix).name, suffix)))


def _files(name: str, out: Path, links: list[Path]) -> list[tuple[Path, Path]]:
    """The images of a file's name, a folder's or a pattern, each with its path below the output folder.

    Adds linked folders to `links`: one may lead back to the folder that it lies in.
    """
    path, unreadable = Path(name), list[Path]()
    if path.is_file():
        return [(path, Path(path.name))]
    if path.is_dir():
        root = path
        walk = list(os.walk(path, onerror=lambda error: unreadable.append(Path(error.filename))))
        links += [Path(folder) / each for folder, names, _ in walk for each in names if (Path(folder) / each).is_symlink()]
        matches = [Path(folder) / file for folder, _, files in walk for file in files]
    elif glob.has_magic(name):
        root = _fixed_part(path)
        matches = _once(Path(match) for match in glob.glob(name, recursive=True))
    else:
        raise OSError(f"no file or folder {name!r}")
    answers = _folders_of_answers(root, out, {match.parent for match in matches})
    files = sorted(match for match in matches if match.parent not in answers and _is_image(match, root))
    if not files and not unreadable:
        raise OSError(f"no images in {name!r}; their names end in {', '.join(sorted(ENDINGS))}")
    # a folder that cannot be read fails when it is, as an image of its name inside it would
    return [(file, file.relative_to(root)) for file in files] + [(each, each.relative_to(root) / "-") for each in unreadable]


def _is_image(file: Path, root: Path) -> bool:
    """Whether a file has an image's ending, and is none of macOS's own."""
    if file.name.startswith(APPLE_DOUBLE) or APPLE_FOLDER in file.relative_to(root).parts:
        return False
    return file.suffix.lower() in ENDINGS and not file.is_dir()  # what cannot be read, as a broken link, is told when it is


def _folders_of_answers(root: Path, out: Path, folders: set[Path]) -> set[Path]:
    """Those of the folders that are the output folder or below it, where that lies inside the root."""
    answers = _real(out)
    if _real(root) not in answers.parents:
        return set()
    return {folder for folder in folders if _real(folder).is_relative_to(answers)}


def _once(matches: Iterable[Path]) -> list[Path]:
    """The matches of a pattern, each file by its shortest way alone: `**` goes through links, also in circles."""
    ways: dict[tuple[Path, str], Path] = {}
    for match in sorted(matches, key=lambda match: len(match.parts)):
        ways.setdefault((_real(match.parent), match.name), match)
    return list(ways.values())


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern before the first that is one."""
    fixed = Path()
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def _check_targets(items: Sequence[Item]) -> None:
    sources = {_real(item.source) for item in items if item.source}
    targets: dict[Path, Item] = {}
    for item in items:
        if item.target is None:
            continue
        target = _real(item.target)
        if target in sources:
            raise OSError(f"{item.target} would overwrite an image; give another -o")
        if (other := targets.setdefault(target, item)) is not item:
            raise OSError(f"{other.name} and {item.name} would both become {item.target}")


def _real(path: Path) -> Path:
    """The path without links, also where they lead in a circle, for which `Path.resolve` raises."""
    return Path(os.path.realpath(path))


def _partial(target: Path) -> Path:
    return target.with_name(_fitting(target.name + ".part", ".part"))


def _fitting(name: str, suffix: str) -> str:
    """The name, or its start, a digest of it and the suffix where it is longer than file systems take."""
    if len(data := os.fsencode(name)) <= LONGEST_NAME:
        return name
    digest = sha256(data).hexdigest()[:DIGEST_LENGTH]
    start = data[: LONGEST_NAME - len(f"-{digest}{suffix}")].decode("utf-8", "ignore")
    return f"{start}-{digest}{suffix}"


def _path(name: str) -> Path | None:
    return None if name == STDIO else Path(name)
