"""Where each answer goes, and how it is written: whole or not at all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cli.image_names import ENDINGS
from cli.input import STDIO, Input
from cli.places import fitting_name, join, write_whole
from cli.stores import is_url, split_url
from common.whole_file import PROCESS, check_output, open_descriptor, refuse_link, remove_partials
from imaging.rendering import IMAGE_SUFFIXES, Rendering
from model.inference.scenes.request import KINDS

ANSWERS = {".png", ".json", ".npz", ".geojson"}
SAME_ENDING = {".jpeg": ".jpg", ".tiff": ".tif"}
STATE = ".fcn-segment"
"""Folder below the output folder for journals and for files that are not whole yet."""


@dataclass(frozen=True)
class Marks:
    """What tells an answer's bytes: the version of its file or object, as `cli.places.version` says it, and their sha256."""

    version: str
    sha256: str


@dataclass(frozen=True)
class Answers:
    """Names and writes the answers of a run. Any thread may call it.

    out: a folder or URL, the file of the one answer, or `-` for stdout. suffix: the ending of answers. file: whether `out` is
    a file or stdout.
    """

    out: str
    suffix: str
    file: bool = False

    def relative(self, image: Input) -> str:
        """The answer's path below the output folder. Names that are too long are cut, and end in a digest.

        Raises `OSError` for a name that would lead out of the folder or into `STATE`; keys of objects may be such.
        """
        folder, _, name = image.answer_stem.rpartition("/")
        if ".." in folder.split("/"):
            raise OSError(f"a name with the part .. has no place below {self.out}; name the image without it")
        if folder.split("/")[0] == STATE:
            raise OSError(f"the folder {STATE} of {self.out} is for journals; name the image otherwise")
        return f"{folder}/{fitting_name(name + self.suffix, self.suffix)}".lstrip("/")

    def target(self, image: Input) -> str:
        """The answer's path or URL; `-` for stdout."""
        return self.out if self.file else join(self.out, self.relative(image))

    def check(self) -> None:
        """Raises `OSError` if no answer can be written to the path; a URL is not checked."""
        if self.out != STDIO and not is_url(self.out):
            refuse_link(Path(self.out, STATE))
            check_output(self.out if self.file else join(self.out, "answer"))

    def write(self, target: str, data: bytes) -> str:
        """Writes an answer to its path or URL, and gives its version, as `cli.places.version` does. Raises `OSError`."""
        return write_whole(target, data, self._partials)

    def remove_partials(self, *, own: bool = False) -> None:
        """Removes what runs that were killed long ago have left; with `own`, what interrupted writes of this process left."""
        if self._partials:
            remove_partials(self._partials, *((f"*.{PROCESS}-*", 0.0) if own else ()))

    @property
    def _partials(self) -> Path | None:
        return None if self.file or is_url(self.out) else Path(self.out, STATE)


def open_answers(out: str, rendering: Rendering, single: bool) -> Answers:
    """Decides whether `out` is a file or a folder. single: whether there is one image. Raises `OSError` if it fits neither.

    A name with another ending is a folder only if it exists or ends with a slash: else it is rather a file of a kind that is
    not written.
    """
    suffix = rendering.suffix
    is_folder = out.endswith("/") or (not is_url(out) and os.path.isdir(out))
    ending = os.path.splitext(out)[1].lower()
    if out == STDIO or open_descriptor(out) is not None or (not is_url(out) and Path(out).is_fifo()):
        if not single:
            raise OSError(f"-o {out} takes one image; give a folder for several")
        return Answers(out, suffix, file=True)
    if is_folder or ending not in ENDINGS | ANSWERS:
        if not is_folder and os.path.exists(out):
            raise OSError(f"-o {out} is no folder; give one for the answers")
        if not is_folder and ending.strip(".0123456789") and not (is_url(out) and not split_url(out)[1]):
            names = ", ".join(sorted({*ANSWERS, *IMAGE_SUFFIXES.values(), *KINDS}))
            raise OSError(f"-o {out} ends in {ending}, which is no output; name it {names}, or {out}/ for a folder")
        return Answers(out, suffix)
    if not single:
        raise OSError(f"-o {out} is named as a file, which takes one image; give a folder, such as {os.path.splitext(out)[0]}/")
    if SAME_ENDING.get(ending, ending) != suffix:
        problem = f"the answer is a {suffix} file, and -o {out} is named otherwise"
        raise OSError(f"{problem}; name it {suffix}, give a folder, or {_advice(SAME_ENDING.get(ending, ending), rendering)}")
    return Answers(out, suffix, file=True)


def _advice(ending: str, rendering: Rendering) -> str:
    """Options with which answers, or other answers, have this ending."""
    image_format = next((name for name, suffix in IMAGE_SUFFIXES.items() if suffix == ending), None)
    if image_format and rendering.is_picture:
        return f"add --image-format {image_format}"
    if ending == Rendering("geotiff").suffix:
        return "give --format geotiff, if the image has coordinates"
    if ending in ANSWERS:
        return f"give --format {ending.removeprefix('.')}"
    return f"ask for a picture: --format overlay --image-format {image_format or 'jpeg'}"
