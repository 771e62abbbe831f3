"""A crowd's tiles in streams of their own: when, with which bytes, and where a processor gives others; no file but its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from model.inference.merging import Logits
from model.inference.runtime import RuntimeUnavailable, Tile
from model.inference.runtimes import openvino_runtime
from model.inference.runtimes.openvino_runtime import (
    MOST_STREAMS,
    CompiledNetwork,
    OpenVINORuntime,
    has_external_data,
    read_export,
)
from model.manifest import WeightsError
from model.weights_file import DEFAULT_WEIGHTS, WEIGHTS_FOLDER, find_files
from tests.support.images import make_photo
from tests.support.polling import HANG_S, wait_until
from tests.support.variants import long

SHAPES = [(32, 32), (64, 96), (96, 64)]
TILES = [make_photo(*SHAPES[seed % 3], seed) for seed in range(9)]


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has enough for all streams."""
    monkeypatch.setattr(openvino_runtime, "available_memory", lambda: 16 << 30)


@pytest.fixture
def export(narrow_file: Path) -> Path:
    return find_files(str(narrow_file)).exports["float32"]


def fill_streams(runtime: OpenVINORuntime) -> OpenVINORuntime:
    """The runtime, once it has compiled its streams."""
    wait_until(lambda: runtime.concurrency(2 * MOST_STREAMS) == runtime.max_concurrency)
    return runtime


def at_once(runtime: OpenVINORuntime, tiles: Sequence[Tile]) -> list[bytes]:
    """Each tile's logits, all asked for at the same time by as many threads as pay."""
    with ThreadPoolExecutor(runtime.max_concurrency) as pool:
        return list(pool.map(lambda tile: runtime.logits([tile]).tobytes(), tiles))


@pytest.mark.parametrize(("precision", "threads"), [("int8", 2), *long(("float32", 2), ("float32", 3), ("int8", 3))])
def test_equal_tiles_have_equal_logits_alone_and_in_a_crowd(precision: str, threads: int) -> None:
    runtime = OpenVINORuntime(find_files(DEFAULT_WEIGHTS).exports[precision], threads)
    tiles = [make_photo(*shape, seed) for seed, shape in enumerate([(192, 256), (256, 192), (224, 224)])]
    alone = [runtime.logits([tile]).tobytes() for tile in tiles]
    assert at_once(fill_streams(runtime), tiles * 8) == alone * 8
    assert runtime.concurrency(threads) == threads  # no shape has been given up


@pytest.mark.parametrize(
    ("threads", "tiles", "calls"), [(1, 9, 1), (4, 2, 1), (4, 3, 4), *long((2, 1, 1), (2, 2, 2), (16, 4, 1), (16, 5, 8))]
)
def test_a_crowd_is_more_tiles_than_half_of_the_streams(export: Path, threads: int, tiles: int, calls: int) -> None:
    runtime = OpenVINORuntime(export, threads)
    assert runtime.max_concurrency == min(threads, MOST_STREAMS)
    assert runtime.concurrency(MOST_STREAMS + 1) == 1  # until they are compiled
    assert fill_streams(runtime).concurrency(tiles) == calls


@pytest.mark.parametrize(("memory", "streams"), [(None, 8), (256 << 20, 1), (1 << 30, 2), (2 << 30, 4), (8 << 30, 8)])
def test_where_there_is_little_memory_there_are_few_streams(
    export: Path, monkeypatch: pytest.MonkeyPatch, memory: int | None, streams: int
) -> None:
    monkeypatch.setattr(openvino_runtime, "available_memory", lambda: memory)
    assert OpenVINORuntime(export, 8).max_concurrency == streams


def test_while_streams_are_compiled_tiles_go_on_one_by_one(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, go = OpenVINORuntime(export, 2), threading.Event()

    def slow(*args: object, **options: int) -> CompiledNetwork:
        assert go.wait(HANG_S)
        return CompiledNetwork(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(openvino_runtime, "CompiledNetwork", slow)
    alone = [runtime.logits([tile]).tobytes() for tile in TILES]
    first = threading.Thread(target=runtime.concurrency, args=(9,), daemon=True)  # as the scheduler's are
    first.start()
    first.join()
    assert [runtime.concurrency(9) for _ in range(3)] == [1, 1, 1]
    assert at_once(runtime, TILES) == alone
    (compiling,) = [thread for thread in threading.enumerate() if thread.name == "compile-streams"]
    assert not compiling.daemon  # else the interpreter's end would not wait for it, and OpenVINO would end the process
    go.set()
    assert at_once(fill_streams(runtime), TILES) == alone


def other_logits_in_streams(shape: tuple[int, int]) -> Callable[[CompiledNetwork, Tile], Logits]:
    """`CompiledNetwork.logits` as of a processor that rounds otherwise in streams, for tiles of one shape."""
    true = CompiledNetwork.logits

    def round_up(network: CompiledNetwork, tile: Tile) -> Logits:
        logits = true(network, tile)
        return np.nextafter(logits, np.inf) if network.streams > 1 and tile.shape[:2] == shape else logits

    return round_up


def test_where_a_shape_has_other_bits_in_streams_they_are_given_up(
    export: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = OpenVINORuntime(export, 2)
    alone = [runtime.logits([tile]).tobytes() for tile in TILES]
    fill_streams(runtime)
    monkeypatch.setattr(CompiledNetwork, "logits", other_logits_in_streams((64, 96)))
    while runtime.concurrency(9) == 2:  # a call that has never met another one has not been in a stream
        assert at_once(runtime, TILES) == alone
    assert (runtime.max_concurrency, runtime.concurrency(9)) == (1, 1)
    assert at_once(runtime, TILES) == alone
    (record,) = caplog.records
    assert "narrow: a tile of 64 x 96 has other logits in a stream than on all cores" in record.message


def test_streams_that_cannot_be_compiled_are_done_without(
    export: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeUnavailable("no memory")

    runtime = OpenVINORuntime(export, 2)
    monkeypatch.setattr(openvino_runtime, "CompiledNetwork", refuse)
    assert runtime.concurrency(9) == 1
    wait_until(lambda: len(caplog.records) == 1)
    assert "tiles now run one at a time, each on all cores: no memory" in caplog.text
    assert (runtime.max_concurrency, runtime.concurrency(9)) == (1, 1)
    assert len(runtime.logits([TILES[0]])) == 1


def elsewhere(location: str = "/etc/hostname") -> TensorProto:
    """A tensor whose values are the bytes of another file."""
    tensor = numpy_helper.from_array(np.zeros(4, np.uint8), "elsewhere")
    set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    return tensor


def model_of(node: onnx.NodeProto, *initializers: TensorProto) -> bytes:
    output = helper.make_tensor_value_info("out", TensorProto.UINT8, [4])
    content: bytes = helper.make_model(helper.make_graph([node], "graph", [], [output], list(initializers))).SerializeToString()
    return content


CONSTANT = helper.make_node("Constant", [], ["out"], value=elsewhere())
BRANCH = helper.make_graph([CONSTANT], "branch", [], [helper.make_tensor_value_info("out", TensorProto.UINT8, [4])])
HIDDEN_PLACES = {
    "initializer": model_of(helper.make_node("Identity", ["elsewhere"], ["out"]), elsewhere()),
    "constant": model_of(CONSTANT),
    "branch": model_of(helper.make_node("If", ["condition"], ["out"], then_branch=BRANCH, else_branch=BRANCH)),
}


@pytest.mark.parametrize("place", HIDDEN_PLACES)
def test_a_tensor_of_another_file_is_found(place: str, tmp_path: Path) -> None:
    assert has_external_data(HIDDEN_PLACES[place])
    path = tmp_path / "model.onnx"
    path.write_bytes(HIDDEN_PLACES[place])
    with pytest.raises(WeightsError, match=r"model\.onnx .*other files"):
        read_export(path)


@pytest.mark.parametrize("start", [b"\x0a\x88\x80\0", b"\x8a\x80\0\x08", b"\x8a\x80\x80\x80\x10\x08"])
def test_however_protobuf_writes_the_key_it_is_found(start: bytes) -> None:
    """A number may have more bytes than it needs, and a field's bits above 32 are dropped."""
    assert has_external_data(HIDDEN_PLACES["constant"].replace(b"\x0a\x08location", start + b"location"))


@pytest.mark.parametrize("path", sorted(WEIGHTS_FOLDER.glob("*.onnx")), ids=lambda path: path.name)
def test_the_published_files_stand_for_themselves(path: Path) -> None:
    assert not has_external_data(path.read_bytes())


def test_a_file_is_not_read_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe")  # whoever opened it would wait for ever
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of(helper.make_node("Identity", ["elsewhere"], ["out"]), elsewhere("pipe")))
    with pytest.raises(WeightsError, match="other files"):
        read_export(path)
