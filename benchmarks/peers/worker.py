"""The worker in the other frameworks' servers: a warmed-up `Segmenter` of the default weights on one thread."""

from __future__ import annotations

import argparse

from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_files

THREADS = 1  # of the network: there is one worker for each core


class Worker:
    """Turns an image file into its mask, with the service's default options."""

    def __init__(self) -> None:
        self.options = Options()
        self.segmenter = Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), threads=THREADS))
        self.segmenter.warm_up(self.options.tile)

    def mask(self, data: bytes) -> bytes:
        """The mask of an image file's bytes, as a PNG's bytes; raises `ImageError`."""
        return self.segmenter.segment(data, self.segmenter.plan(data, self.options)).body


def port() -> int:
    """The port in the command line's `--port`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    number: int = parser.parse_args().port
    return number
