"""The published exports in OpenVINO, against ONNX Runtime, which computes the graph as it is written: no optimizations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imaging.decoding import Limits, decode
from model.inference.merging import Logits
from model.inference.runtime import Tile
from model.inference.runtimes.openvino_runtime import CompiledNetwork, read_export
from tests.support.checkout import ROOT

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.long
EXPORTS = sorted((ROOT / "weights").glob("*.onnx"))
SIDES = range(32, 513, 32)
TILES = 500
THREADS = 2


def photo_tiles() -> Iterator[Tile]:
    """Pieces of photographs: every shape of sides up to 512 pixels at least once."""
    rng = np.random.default_rng(1)
    photos = [np.asarray(decode(path.read_bytes(), Limits())) for path in sorted((ROOT / "docs" / "photos").glob("*.jpg"))]
    shapes = [(height, width) for height in SIDES for width in SIDES]
    shapes += [tuple(shape) for shape in rng.choice(SIDES, (TILES - len(shapes), 2)).tolist()]
    for number, (height, width) in enumerate(shapes):
        photo = photos[number % len(photos)]
        top, left = (rng.integers(0, max(1, extent - side)) for extent, side in zip(photo.shape, (height, width), strict=False))
        piece = photo[top : top + height, left : left + width]
        yield np.pad(piece, ((0, height - piece.shape[0]), (0, width - piece.shape[1]), (0, 0)), mode="edge")


def reference(path: Path) -> Any:
    """A function from a tile to ONNX Runtime's logits."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda tile: session.run(None, {name: tile[None]})[0][0]


def compile_both(path: Path) -> list[CompiledNetwork]:
    export = read_export(path)
    return [CompiledNetwork(export, threads=THREADS, streams=streams) for streams in (1, THREADS)]


def distance(one: Logits, other: Logits) -> float:
    """The root of the mean squared difference, in standard deviations of the other logits."""
    return float(np.sqrt(np.mean((one - other) ** 2)) / other.std())


@pytest.mark.parametrize("path", [path for path in EXPORTS if ".int8" not in path.name], ids=lambda path: path.name)
def test_float32_logits_are_those_of_another_engine(path: Path) -> None:
    single, streams = compile_both(path)
    expected = reference(path)
    for tile in photo_tiles():
        logits = single.logits(tile)
        assert streams.logits(tile).tobytes() == logits.tobytes(), tile.shape
        assert distance(logits, expected(tile)) < 1e-4, tile.shape


@pytest.mark.parametrize("path", [path for path in EXPORTS if ".int8" in path.name], ids=lambda path: path.name)
def test_int8_logits_are_as_near_to_float32_as_those_of_another_engine(path: Path) -> None:
    """Engines round an int8 network in other places, so each is compared with the float32 network."""
    single, streams = compile_both(path)
    expected, exact = reference(path), reference(path.with_name(path.name.replace(".int8", "")))
    distances = []
    for tile in photo_tiles():
        logits, truth = single.logits(tile), exact(tile)
        assert streams.logits(tile).tobytes() == logits.tobytes(), tile.shape
        distances.append((distance(logits, truth), distance(expected(tile), truth)))
    own, other = np.array(distances).T
    assert own.mean() < 1.1 * other.mean()
    assert (own < 2 * other + 0.05).all(), [*zip(own.round(3), other.round(3), strict=True)]
