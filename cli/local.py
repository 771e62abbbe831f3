"""Segments in this process, with a network of its own."""

from __future__ import annotations

from dataclasses import replace

from model.inference.cores import available_cores
from model.inference.segmenter import Options, Segmenter


class Local:
    """From an image file's bytes to the answer's; for several threads at once. threads: of the network, 0 for one a core."""

    def __init__(self, segmenter: Segmenter, options: Options, threads: int = 0) -> None:
        self.segmenter = segmenter
        self.options = options
        # while one image is in the network, others are read, decoded, encoded and written
        self.workers = (threads or available_cores()) + 1

    def __call__(self, data: bytes, name: str = "image") -> bytes:
        """The answer for an image file's bytes; `name` is the image's, for formats that hold it."""
        options = replace(self.options, rendering=replace(self.options.rendering, name=name))
        return self.segmenter.segment(data, self.segmenter.plan(data, options)).body
