"""Finds the images to segment, decides where each answer goes, and writes the answers."""

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
LONGEST_NAME = 255  # bytes of a file's name; the limit of all common file systems
DIGEST_LENGTH = 16
# macOS writes such files and folders next to images, on other file systems and in archives
APPLE_DOUBLE, APPLE_FOLDER = "._", "__MACOSX"


@dataclass(frozen=True)
class Item:
    """An image to segment (None: stdin), and the file of its answer (None: stdout)."""

    source: Path | None
    target: Path | None

    @property
    def name(self) -> str:
        return str(self.source or "stdin")

    @property
    def file_name(self) -> str:
        """The image's name without folders, for answers that contain it. Bytes that are not UTF-8 become U+FFFD."""
        return os.fsencode(self.source.name).decode("utf-8", "replace") if self.source else "stdin"

    @property
    def done(self) -> bool:
        """Whether its answer exists. An answer that exists is complete, since answers are written whole or not at all."""
        return self.target is not None and self.target.exists()


def plan_items(inputs: Sequence[str], out: str, suffix: str, tell: Callable[[str], object] = len) -> list[Item]:
    """Finds the images in files, folders, patterns and `-`. The structure of folders is kept below the output folder.

    Skips the output folder if it lies inside an input folder. Skips linked folders inside input folders, and passes a line
    about them to `tell`. Raises `OSError` if there is no image, or if an answer would overwrite an image or another answer.
    """
    links = list[Path]()
    items = list(_plan(inputs, out, suffix, links))
    if links:
        tell(f"{len(links)} linked folders are left out, such as {links[0]}; give them as inputs of their own")
    _check_targets(items)
    return items


def write_whole(target: Path, data: bytes) -> None:
    """Writes a file whole or not at all, and creates its folder. Raises `OSError`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(target)
    try:
        partial.write_bytes(data)
        partial.replace(target)
    except BaseException:
        remove_partials([target])
        raise


def remove_partials(targets: Iterable[Path]) -> None:
    """Removes the partial files of these targets, if there are any."""
    for target in targets:
        with suppress(OSError):
            _partial(target).unlink()


def _plan(inputs: Sequence[str], out: str, suffix: str, links: list[Path]) -> Iterator[Item]:
    if "" in (*inputs, out):
        raise OSError("a name is empty, perhaps from a variable that is not set; give . for the current folder")
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
    """The images that the name of a file, a folder or a pattern stands for, each with its path below the output folder.

    Does not enter linked folders but adds them to `links`, since a link may lead back to a folder that contains it.
    """
    path, unreadable = Path(name), list[Path]()
    if path.is_file():
        return [(path, Path(path.name))]
    if path.is_dir():
        root = path
        walk = list(os.walk(path, onerror=lambda error: unreadable.append(Path(error.filename))))
        folders = [Path(folder) / name for folder, names, _ in walk for name in names]
        links += [folder for folder in folders if folder.is_symlink()]
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
    # An unreadable folder is listed like an image, so that reading it fails and the run reports it.
    failing = [(folder, folder.relative_to(root) / "-") for folder in unreadable]
    return [(file, file.relative_to(root)) for file in files] + failing


def _is_image(file: Path, root: Path) -> bool:
    """Whether a file has an image's ending and is not one of macOS's own files."""
    if file.name.startswith(APPLE_DOUBLE) or APPLE_FOLDER in file.relative_to(root).parts:
        return False
    # an unreadable file, such as a broken link, counts as an image; reading it fails, and the run reports it
    return file.suffix.lower() in ENDINGS and not file.is_dir()


def _folders_of_answers(root: Path, out: Path, folders: set[Path]) -> set[Path]:
    """Those of the folders that are the output folder or lie below it. Empty if it is not inside the root."""
    answers = _real(out)
    if _real(root) not in answers.parents:
        return set()
    return {folder for folder in folders if _real(folder).is_relative_to(answers)}


def _once(matches: Iterable[Path]) -> list[Path]:
    """The matches of a pattern, with each file only once, by its shortest path. `**` follows links, even in circles."""
    shortest: dict[tuple[Path, str], Path] = {}
    for match in sorted(matches, key=lambda match: len(match.parts)):
        shortest.setdefault((_real(match.parent), match.name), match)
    return list(shortest.values())


def _fixed_part(pattern: Path) -> Path:
    """The leading folders of a pattern, up to the first part with a wildcard."""
    fixed = Path()
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def _check_targets(items: Sequence[Item]) -> None:
    """Raises `OSError` if an answer would overwrite an image or another answer."""
    sources = {_real(item.source) for item in items if item.source}
    targets: dict[Path, Item] = {}
    for item in items:
        if item.target is None:
            continue
        target = _real(item.target)
        if target in sources:
            raise OSError(f"{item.target} would overwrite an image; give another -o")
        if (earlier := targets.setdefault(target, item)) is not item:
            raise OSError(f"{earlier.name} and {item.name} would both become {item.target}")


def _real(path: Path) -> Path:
    """The path with links resolved. Also works for links in a circle, for which `Path.resolve` raises."""
    return Path(os.path.realpath(path))


def _partial(target: Path) -> Path:
    """Where a file is written before it is renamed to its target."""
    return target.with_name(_fitting(target.name + ".part", ".part"))


def _fitting(name: str, suffix: str) -> str:
    """The name; if it is too long for file systems, its start, a digest of the whole name, and the suffix."""
    if len(data := os.fsencode(name)) <= LONGEST_NAME:
        return name
    digest = sha256(data).hexdigest()[:DIGEST_LENGTH]
    start = data[: LONGEST_NAME - len(f"-{digest}{suffix}")].decode("utf-8", "ignore")
    return f"{start}-{digest}{suffix}"


def _path(name: str) -> Path | None:
    return None if name == STDIO else Path(name)
