"""An input of a run: an image, or a name with the problem that keeps it from being read."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from hashlib import sha256

from cli.places import is_path, read_stream, read_whole, version
from cli.web import is_web, web_path
from common.whole_file import open_descriptor

STDIO = "-"


@dataclass(frozen=True)
class Input:
    """An image to segment.

    name: path, URL, or `-` for stdin. relative: its path below the folder, bucket or list that it was listed from, with `/`.
    answer_stem: path of its answer below the output folder, without the ending of the answer's format. version: changes when
    the content does; empty if the listing does not know it. problem: why the image is not read; None for all others. is_stream:
    whether the name is that of an open descriptor, such as `/dev/stdin`, or `/dev/fd/63` of a shell's `<(...)`.
    """

    name: str
    relative: str
    answer_stem: str
    version: str = ""
    problem: str | None = None
    is_stream: bool = False

    @property
    def display_name(self) -> str:
        """The name in messages and lines."""
        return "stdin" if self.name == STDIO else self.name

    @property
    def full_name(self) -> str:
        """The absolute path, or the URL."""
        return os.path.abspath(self.name) if is_path(self.name) else self.name

    @property
    def file_name(self) -> str:
        """The image's name without folders, for answers that contain it. Bytes that are not UTF-8 become U+FFFD."""
        name = web_path(self.name) if is_web(self.name) else self.display_name
        return os.fsencode(name.rpartition("/")[2]).decode("utf-8", "replace")

    def current_version(self) -> str:
        """The version; asks the file system, the store or the server if the listing does not know it. Raises `OSError`.

        Empty for stdin and open descriptors, and for a web address whose server does not say it.
        """
        return self.version or ("" if self.name == STDIO or self.is_stream else version(self.name))

    def read(self) -> tuple[bytes, str]:
        """The image's bytes and version. Raises `OSError`."""
        if self.is_stream:
            with open(self.name, "rb") as file:
                return read_stream(file), ""
        if self.name != STDIO:
            return read_whole(self.name)
        if sys.stdin is None:
            raise OSError("it is closed; give a file, or send one there")
        return read_stream(sys.stdin.buffer), ""


def is_stream(name: str) -> bool:
    """Whether a path names an open descriptor that is no regular file. It is read once, to its end."""
    return open_descriptor(name) is not None and not os.path.isfile(name)


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of the inputs. index: 0 to count - 1."""

    index: int = 0
    count: int = 1

    def holds(self, item: Input) -> bool:
        """Whether the input belongs to this part. The sha256 of its relative name decides: the same on every machine."""
        digest = sha256(os.fsencode(item.relative)).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index
