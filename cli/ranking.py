"""`--rank`: a file with the names of the images, the least confident first."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from cli.image_names import ENDINGS
from cli.input import STDIO
from cli.inputs import Listing
from cli.places import is_path, write_whole
from cli.report import Outcome, write_stdout
from cli.web import is_web
from model.whole_file import begins_with, check_output

RANKING = f"(?i)(stdin|https?://.*|.*({'|'.join(map(re.escape, ENDINGS))}))\r?\n".encode()  # a line that names an image


class Ranking:
    """Orders the images of a run by the mean confidence of their pixels, the lowest first. For one thread.

    name: of the file or object to write, `-` for stdout. The names stay in memory until `write`. Failed images are left out.
    Raises `OSError` for a folder, a web address, a file that is one of the images, one that cannot be written, and without
    `force` for one that does not begin with the name of an image.
    """

    def __init__(self, name: str, listing: Listing, *, force: bool = False) -> None:
        if is_web(name) or (is_path(name) and name != STDIO and os.path.isdir(name)):
            raise OSError(f"--rank {name} must be a file or an object; give one, such as ranking.txt")
        if is_path(name) and name != STDIO and listing.holds(Path(name)):
            raise OSError(f"--rank {name} would overwrite an image; give another file")
        if is_path(name) and name != STDIO:
            check_output(name, None if force else begins_with(RANKING))
        self._name = name
        self._images: list[tuple[float, str]] = []

    def passing(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        """The same outcomes; keeps the name and the confidence of each. Raises `OSError` for a network without confidence."""
        for outcome in outcomes:
            if outcome.result and outcome.result.mean_confidence is None:
                raise OSError("--rank needs confidence, and this network gives class ids alone; leave --rank out")
            if outcome.result and outcome.result.mean_confidence is not None:
                self._images.append((outcome.result.mean_confidence, outcome.image.name))
            yield outcome

    def write(self) -> None:
        """Writes the names, one on each line. Images of equal confidence keep their order."""
        names = [name for _, name in sorted(self._images, key=lambda image: image[0])]
        data = b"".join(os.fsencode(name) + b"\n" for name in names)
        if self._name == STDIO:
            write_stdout(data)
        else:
            write_whole(self._name, data)
