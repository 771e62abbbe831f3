"""The worker in the other frameworks' servers, with the default weights: our `Segmenter`, or what their users would write."""

from __future__ import annotations

import argparse
import io
import os
from typing import Protocol

import numpy as np
from PIL import Image

from model.inference.cores import available_cores
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.scaling import working_size
from model.inference.segmenter import Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_files, find_weights, load_weights

THREADS = 1  # of the network in our `Segmenter`: there is one worker for each core
PLAIN = "PEER_PLAIN"  # the environment variable that chooses `PlainWorker`
IS_PLAIN = PLAIN in os.environ
WORKERS = 1 if IS_PLAIN else available_cores()  # 1 is the default of each framework


class Worker(Protocol):
    """One worker's network."""

    def mask(self, data: bytes) -> bytes:
        """The mask of an image file's bytes, as a PNG's bytes."""


class SegmenterWorker:
    """Turns an image file into its mask as the service does, with its default options."""

    def __init__(self) -> None:
        self.options = Options()
        self.segmenter = Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), threads=THREADS))
        self.segmenter.warm_up(self.options.tile)

    def mask(self, data: bytes) -> bytes:
        """Raises `ImageError`."""
        return self.segmenter.segment(data, self.segmenter.plan(data, self.options)).body


class PlainWorker:
    """The float32 network in ONNX Runtime, as its documentation shows it: its own threads, no tiles, no limits.

    The photo is scaled to the working size, and the class is the highest logit at each pixel of the photo.
    """

    def __init__(self) -> None:
        import cv2
        import onnxruntime

        self._resize = cv2.resize
        path = find_files(DEFAULT_WEIGHTS).exports["float32"]
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self._advised_range = load_weights(find_weights(DEFAULT_WEIGHTS)).manifest.preprocessing.side

    def mask(self, data: bytes) -> bytes:
        """Raises `OSError` for a file that Pillow cannot read."""
        image = Image.open(io.BytesIO(data)).convert("RGB")
        size = [max(32, round(length / 32) * 32) for length in working_size(image.size, "auto", self._advised_range)]
        (logits,) = self._session.run(None, {"pixels": np.asarray(image.resize(size))[None]})
        class_map = self._resize(logits[0].transpose(1, 2, 0), image.size).argmax(2).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(class_map).save(file, "PNG")
        return file.getvalue()


def worker() -> Worker:
    """The worker that the environment asks for."""
    return PlainWorker() if IS_PLAIN else SegmenterWorker()


def port() -> int:
    """The port in the command line's `--port`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    number: int = parser.parse_args().port
    return number
