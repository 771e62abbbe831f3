"""What the front believes of a process that a scene took over: its messages come over the real socket."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from concurrent.futures import Future

import numpy as np
import pytest

from imaging.errors import DamagedImage
from model.inference.merging import Logits
from model.inference.processes.conversation import FrameChannel, send
from model.inference.processes.protocol import WorkerBroken
from model.inference.processes.scene_process import STALL_S, SceneProcess, SceneTask
from model.inference.runtime import Runtime, Tile
from model.inference.scenes.request import SceneRequest
from model.inference.segmenter import Segmenter
from tests.support.model.workers import channel

pytestmark = pytest.mark.anyio
AHEAD = 4
PLAN, TILE, DONE = {"kind": "plan", "tiles": 100, "remark": ""}, {"kind": "tile", "shape": [96, 96, 3]}, {"kind": "answer"}
PIXELS = bytes(96 * 96 * 3)


class Hostile:
    """The front's side of a process, and the messages that the test writes in its place."""

    def __init__(self, runtime: Runtime, frames: FrameChannel, end: socket.socket) -> None:
        request = SceneRequest("a.tif", "b.tif", tile=(96, 96))
        self.process = SceneProcess(frames, Segmenter(runtime), SceneTask(b"", [request], "folder", AHEAD))
        self.end = end
        self.shares: list[float] = []
        self.tiles: list[Tile] = []

    def say(self, head: object, payload: bytes = b"") -> None:
        send(self.end, head if isinstance(head, bytes) else json.dumps(head).encode(), payload)

    async def run(self) -> None:
        await self.process.run(self.submit, self.shares.append)

    def submit(self, tile: Tile) -> Future[Logits]:
        self.tiles.append(tile)
        future: Future[Logits] = Future()
        future.set_result(np.zeros((4, 500, 500), np.float32))  # more than the socket takes
        return future


@pytest.fixture
async def it(openvino_runtime: Runtime) -> AsyncIterator[Hostile]:
    with channel() as (frames, end):
        yield Hostile(openvino_runtime, frames, end)


ROWS: list[object] = [None, "5", 1.5, True, 0, -1, 1 << 40, [5], {}]


@pytest.mark.parametrize(
    "head",
    [b"no JSON", b'{"kind": "plan"}', b'{"kind": "plan", "tiles": NaN}', b'{"kind": "plan", "tiles": 1e400}', DONE, TILE,
     *({"kind": "plan", "tiles": rows} for rows in ROWS)],
    ids=str,
)  # fmt: skip
async def test_a_plan_that_cannot_be_breaks_the_process(it: Hostile, head: object) -> None:
    it.say(head)
    with pytest.raises(WorkerBroken):
        await it.process.plan()


@pytest.mark.parametrize(
    ("head", "payload"),
    [({"kind": "rows"}, b""), (PLAN, b""), ({"kind": "rows", "tiles": 50}, b""), ({"kind": "rows", "tiles": 101}, b""),
     *(({"kind": "rows", "tiles": rows}, b"") for rows in ROWS), (TILE | {"shape": [95, 96, 3]}, bytes(95 * 96 * 3))],
    ids=str,
)  # fmt: skip
async def test_a_message_that_cannot_be_breaks_the_process(it: Hostile, head: object, payload: bytes) -> None:
    it.say(PLAN)
    await it.process.plan()
    it.say({"kind": "rows", "tiles": 50})
    it.say(head, payload)
    with pytest.raises(WorkerBroken):
        await it.run()
    assert (it.shares, it.tiles) == ([0.5], [])


@pytest.mark.parametrize("name", ["unexpected", "SystemExit", "TaskDropped", "MemoryError"])
async def test_an_error_that_no_scene_should_cause_is_logged_and_told_in_words(
    it: Hostile, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    it.say({"kind": "error", "type": name, "message": "a\ud800\x1b[2J"})
    with pytest.raises(DamagedImage, match=r"could not be processed, and the service's log says why"):
        await it.process.plan()
    assert r"a\ud800\x1b[2J" in caplog.text


async def test_the_time_without_a_word_counts_every_output(openvino_runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = list[float]()

    async def run_tiles(*_: object, stall_s: float) -> tuple[dict[str, str], None]:
        seconds.append(stall_s)
        return DONE, None

    monkeypatch.setattr(SceneProcess, "run_tiles", run_tiles)
    for count in (1, 3):
        task = SceneTask(b"", [SceneRequest("a.tif", "b.tif", tile=(96, 96))] * count, "folder", AHEAD)
        with channel() as (frames, _):
            await SceneProcess(frames, Segmenter(openvino_runtime), task).run(lambda tile: Future(), lambda share: None)
    assert seconds == [STALL_S, STALL_S * 3]


async def test_the_text_of_an_error_can_be_written_and_shown(it: Hostile) -> None:
    it.say({"kind": "error", "type": "UnknownImageType", "message": "a\ud800\x1b[2J"})
    with pytest.raises(ValueError, match=r"^a\\ud800\\x1b\[2J$"):
        await it.process.plan()
