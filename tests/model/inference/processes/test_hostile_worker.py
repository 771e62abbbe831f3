"""What the parent believes of a worker that an attacker controls: its messages come over the real socket."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import socket
import sys
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from imaging.decoding import Limits
from imaging.errors import DamagedImage
from model.inference.errors import WorkerFailed
from model.inference.merging import Logits
from model.inference.processes.blob import Blob
from model.inference.processes.conversation import PREFIX, FrameChannel, receive, send
from model.inference.processes.protocol import Answer, ImageRequest, WorkerEnded, WorkerPlan
from model.inference.processes.worker import Worker
from model.inference.runtime import Runtime, Tile
from model.inference.segmenter import Segmenter
from tests.support.model.workers import OPTIONS, PHOTO, channel
from tests.support.open_files import anonymous_files
from tests.support.polling import wait_until_async

pytestmark = pytest.mark.anyio
AHEAD = 2
PLAN: dict[str, Any] = {"kind": "plan", "size": [90, 130], "side": "auto", "bytes": 1_000_000, "sha256": "0" * 64}
TILE = {"kind": "tile", "shape": [96, 96, 3]}
ANSWER = {
    "kind": "answer", "encoding": "", "seconds": {"decode": 0, "inference": 0, "encode": 0}, "counts": [90 * 130, 0, 0, 0],
    "mean_confidence": None, "box": None, "object_pixels": None, "remark": "",
}  # fmt: skip


class Puppet:
    """In place of a forked process: the worker's end of the socket, which the test writes to."""

    pid = os.getpid()

    def __init__(self, end: socket.socket) -> None:
        self.end = end

    def kill(self) -> None:
        with suppress(OSError):  # it is killed already
            self.end.shutdown(socket.SHUT_RDWR)
        self.end.close()

    async def wait(self) -> int:
        self.kill()
        return -9


class Hostile:
    """The parent's side, and the worker's messages as the test writes them."""

    def __init__(self, runtime: Runtime, frames: FrameChannel, end: socket.socket) -> None:
        self.segmenter = Segmenter(runtime)
        self.description = pickle.dumps(Runtime.of(runtime))
        self.frames, self.end = frames, end
        self.worker = Worker(Puppet(end), frames)  # type: ignore[arg-type]
        self.tiles: list[Tile] = []

    def say(self, head: object, payload: bytes = b"") -> None:
        send(self.end, head if isinstance(head, bytes) else json.dumps(head).encode(), payload)

    def say_tiles(self, count: int) -> int:
        """Sends so many tiles without waiting for logits, until the parent closes the channel. How many it took."""
        for number in range(count):
            try:
                self.say(TILE, bytes(96 * 96 * 3))
            except OSError:
                return number
        return count

    async def plan(self, head: object, payload: bytes = b"") -> WorkerPlan:
        """The parent asks for a plan, and this is what comes."""
        image = ImageRequest(Blob.of(PHOTO), OPTIONS, Limits())
        planning = asyncio.create_task(self.worker.plan(image, self.description, AHEAD))
        await asyncio.sleep(0)
        receive(self.end)
        self.say(head, payload)
        return await planning

    def submit(self, tile: Tile) -> Future[Logits]:
        self.tiles.append(tile)
        return Future()

    async def work(self) -> asyncio.Task[Answer]:
        """The parent lets the work begin. Its task."""
        working = asyncio.create_task(self.worker.work(1_000_000, self.submit))
        await asyncio.sleep(0)
        _, _, (answer_file,) = receive(self.end)
        os.close(answer_file)
        return working


@pytest.fixture
async def it(runtime: Runtime) -> AsyncIterator[Hostile]:
    with channel() as (frames, end):
        yield Hostile(runtime, frames, end)


MESSAGES = [
    b"no JSON", b"[1, 2]", b"{}", b'{"kind": 7}', b"{" * 5000, b'{"a":' * 20_000, b"\xff",
    {"kind": "error", "type": "SystemExit"}, {"kind": "error", "type": 1, "message": ""}, ANSWER, TILE,
    {"kind": "error", "type": "DamagedImage", "message": "x" * 50_000},
]  # fmt: skip
PLANS = [
    ("side", 64), ("side", "native"), ("side", None),
    ("size", ["a", 1]), ("size", ["90", "130"]), ("size", [90]), ("size", [90, 130, 3]), ("size", [-90, -130]),
    ("size", [0, 0]),
    ("size", [90.0, 130.0]), ("size", [True, True]), ("size", None), ("size", "90"), ("size", [float("inf"), 1]),
    ("size", [20_000, 20_000]), ("size", [10**6, 1]), ("size", {"90": 1, "130": 1}),
    ("bytes", -(10**15)), ("bytes", 0), ("bytes", 90), ("bytes", "1000000"), ("bytes", 1e6), ("bytes", True), ("bytes", 10**15),
    ("bytes", 10**400), ("bytes", None), ("bytes", [1]),
    ("sha256", ""), ("sha256", "0" * 63 + "G"), ("sha256", "0" * 65), ("sha256", 7), ("sha256", None), ("sha256", "\n" * 64),
]  # fmt: skip


@pytest.mark.parametrize(
    ("head", "payload"),
    [*((head, b"") for head in [*MESSAGES, *(PLAN | {name: value} for name, value in PLANS)]), (PLAN, b"x")],
    ids=str,
)
async def test_a_plan_that_cannot_be_is_the_worker_s_end(it: Hostile, head: object, payload: bytes) -> None:
    with pytest.raises((DamagedImage, WorkerFailed)):
        await it.plan(head, payload)
    assert it.worker.death == "crash"


async def test_the_parent_derives_from_the_size_what_follows_from_it(it: Hostile) -> None:
    plan = await it.plan(PLAN | {"tiles": 10**6, "decode_seconds": float("nan")})
    own_plan = it.segmenter.plan(PHOTO, OPTIONS)
    assert (plan.size, plan.tile_count, plan.bytes) == (own_plan.size, own_plan.tile_count, PLAN["bytes"])
    assert 0 < plan.decode_seconds < 10


@pytest.mark.parametrize(
    ("head", "payload"),
    [
        (TILE | {"shape": [96, 96]}, 96 * 96),
        (TILE | {"shape": [96, 96, 1]}, 96 * 96),
        (TILE | {"shape": [64, 64, 3]}, 64 * 64 * 3),
        (TILE | {"shape": [-1, 96, 3]}, 96 * 96 * 3),
        (TILE | {"shape": [96.0, 96, 3]}, 96 * 96 * 3),
        (TILE | {"shape": ["96", "96", "3"]}, 96 * 96 * 3),
        *((TILE | {"shape": shape}, 96 * 96 * 3) for shape in (None, 5, [], "abc", [1e3], [1 << 70, 96, 3])),
        (TILE, 96 * 96 * 3 - 1),
        ({"kind": "tile"}, 96 * 96 * 3),
        ({"kind": "plan"}, 0),
        ({"kind": ["tile"]}, 0),
        (ANSWER, 0),
        (ANSWER | {"counts": [1]}, 10),
    ],
    ids=str,
)
async def test_a_tile_or_an_answer_that_cannot_be_is_the_worker_s_end(it: Hostile, head: object, payload: int) -> None:
    await it.plan(PLAN)
    working = await it.work()
    it.say(head, bytes(payload))
    with pytest.raises((DamagedImage, WorkerFailed)):
        await working
    assert it.worker.death == "crash"
    assert it.tiles == []


async def test_tiles_wait_for_the_work_and_are_no_more_than_may_wait_for_their_logits(it: Hostile) -> None:
    await it.plan(PLAN)
    task = asyncio.create_task(asyncio.to_thread(it.say_tiles, 60))
    await wait_until_async(lambda: bool(it.worker._frames.fault()))
    assert it.tiles == []
    with pytest.raises(WorkerFailed):
        await it.worker.work(1_000_000, it.submit)
    assert len(it.tiles) == AHEAD
    assert await task < 60
    assert it.worker.death == "crash"


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are listed there")
async def test_a_file_that_cannot_be_sent_is_closed(it: Hostile) -> None:
    """The worker has not read what came before it is given the file for its answer."""
    before = anonymous_files()
    await it.plan(PLAN)
    it.frames.send(bytes(8 << 20))  # more than the socket takes
    with pytest.raises(WorkerFailed):
        await it.worker.work(1_000_000, it.submit)
    assert it.worker.death
    assert anonymous_files() == before


@pytest.mark.parametrize("moment", ["with it", "later"])
async def test_a_worker_that_speaks_after_its_answer_is_not_lent_any_more(it: Hostile, moment: str) -> None:
    await it.plan(PLAN)
    working = await it.work()
    it.say(ANSWER, b"mask")
    if moment == "with it":
        it.say(PLAN)
    assert (await working).body.data == b"mask"
    if moment == "later":
        it.say(PLAN)
    await wait_until_async(lambda: bool(it.frames.fault()))
    assert not it.worker.is_fit()
    assert it.worker.death == "crash"


@pytest.mark.parametrize("pieces", [1, 7, 5000])
async def test_frames_arrive_whole_however_their_bytes_are_cut(it: Hostile, pieces: int) -> None:
    payloads = [b"", b"x" * 3, bytes(range(256)) * 20, b""]
    data = b"".join(PREFIX.pack(4, len(payload)) + b"head" + payload for payload in payloads)

    def send_pieces() -> None:
        for start in range(0, len(data), pieces):
            it.end.sendall(data[start : start + pieces])

    task = asyncio.create_task(asyncio.to_thread(send_pieces))
    for payload in payloads:
        head, body = await it.frames.receive(20_000)
        assert (head, bytes(body)) == (b"head", payload)
    await task


async def test_an_image_has_no_more_tiles_than_its_plan(it: Hostile) -> None:
    plan = await it.plan(PLAN)
    logits = it.segmenter.runtime.logits([np.zeros((96, 96, 3), np.uint8)])[0]

    def submit(tile: Tile) -> Future[Logits]:
        it.tiles.append(tile)
        future: Future[Logits] = Future()
        future.set_result(logits)
        return future

    def send_tiles() -> None:
        receive(it.end)
        for _ in range(plan.tile_count + 1):
            it.say(TILE, bytes(96 * 96 * 3))
            receive(it.end)

    task = asyncio.create_task(asyncio.to_thread(send_tiles))
    with pytest.raises(WorkerFailed):
        await it.worker.work(1_000_000, submit)
    assert it.worker.death == "crash"
    assert len(it.tiles) <= plan.tile_count + 1
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(("head_bytes", "payload_bytes"), [(1 << 31, 0), (10, 1 << 40), (10, 3 << 24)])
async def test_lengths_that_no_worker_announces_end_its_channel_before_they_are_read(
    it: Hostile, head_bytes: int, payload_bytes: int
) -> None:
    it.end.sendall(head_bytes.to_bytes(4, "big") + payload_bytes.to_bytes(8, "big"))
    with pytest.raises(WorkerEnded, match="announced"):
        await it.frames.receive()


async def test_what_is_sent_to_a_closed_channel_is_left_out(it: Hostile) -> None:
    it.frames.close()
    it.frames.send(b"{}", b"logits that came after the end of their worker")
    with pytest.raises(WorkerEnded):
        await it.frames.receive()
