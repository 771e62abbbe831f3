"""Images that are worked on in processes of their own: the same bytes, deaths that cost one request, and clean ends."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import sys
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from benchmarks.harness.hostile import overlapping_strips, png_with
from benchmarks.harness.image_files import chunk
from imaging.decoding import Limits, decode
from imaging.errors import DamagedImage, ImageTooLarge, UnknownImageType
from imaging.rendering import ANSWER_FORMATS, Rendering
from model.inference.errors import WorkerFailed, WorkersStopped
from model.inference.merging import Logits
from model.inference.plan import Options
from model.inference.processes import workers as workers_module
from model.inference.processes.blob import Blob
from model.inference.processes.protocol import ImageRequest
from model.inference.processes.worker import GROWN_BYTES
from model.inference.runtime import Runtime, Tile
from model.inference.scaling import SideError
from tests.support.images import encode, make_photo
from tests.support.imaging.scenes import scene_file
from tests.support.model.workers import OPTIONS, PHOTO, Asking, asking
from tests.support.polling import wait_until_async
from tests.support.variants import long

LARGE = encode(make_photo(700, 1200), "JPEG")
pytestmark = pytest.mark.anyio
SHORT_FORMATS = ("png", "json", "coco", "npz")


@pytest.mark.parametrize(("cores", "workers"), [(1, 3), (2, 4), (16, 18), (32, 34), (256, workers_module.MOST_WORKERS)])
def test_there_are_more_workers_than_cores(monkeypatch: pytest.MonkeyPatch, cores: int, workers: int) -> None:
    monkeypatch.setattr(workers_module, "available_cores", lambda: cores)
    assert workers_module.worker_count() == workers


@pytest.mark.parametrize("format", [*SHORT_FORMATS, *long(*(name for name in ANSWER_FORMATS if name not in SHORT_FORMATS))])
async def test_a_worker_s_bytes_are_a_segmenter_s(it: Asking, format: str) -> None:
    rendering = Rendering(format)  # type: ignore[arg-type]
    for photo in (PHOTO, LARGE):
        options = Options(tile=(96, 96), side=500, rendering=rendering)
        if photo is PHOTO:
            options = Options(tile=(96, 96), rendering=rendering)
        data = scene_file(decode(photo, Limits())) if rendering.needs_place else photo
        assert await it.segment(data, options) == it.alone(data, options)
    assert it.deaths == []


async def test_bodies_and_answers_of_megabytes_travel_as_files(runtime: Runtime) -> None:
    noise = encode(np.random.default_rng(0).integers(0, 256, (900, 1000, 3), np.uint8))
    options = Options(tile=(96, 96), side=96, rendering=Rendering("overlay"))
    assert len(noise) > 2 << 20
    before = psutil.Process().num_fds()
    async with asking(runtime) as it:
        answer = await it.segment(noise, options)
        assert len(answer) > 2 << 20
        assert answer == it.alone(noise, options)
    assert psutil.Process().num_fds() <= before


@pytest.mark.parametrize(
    ("data", "options", "error"),
    [
        (b"text", OPTIONS, UnknownImageType),
        (PHOTO[: len(PHOTO) // 2], OPTIONS, DamagedImage),
        (PHOTO, Options(side=5000), SideError),
    ],
    ids=["text", "damaged", "side"],
)
async def test_what_is_wrong_with_an_image_is_raised_here_and_its_worker_goes_on(
    one: Asking, data: bytes, options: Options, error: type[Exception]
) -> None:
    pids = one.workers.pids
    with pytest.raises(error):
        await one.segment(data, options)
    assert await one.segment(PHOTO, OPTIONS) == one.alone(PHOTO, OPTIONS)
    assert (one.workers.pids, one.deaths) == (pids, [])


async def test_limits_of_the_service_hold_in_its_workers(it: Asking) -> None:
    image = ImageRequest(Blob.of(PHOTO), OPTIONS, Limits(0.001))
    with pytest.raises(ImageTooLarge):
        async with it.workers.claim() as worker:
            await worker.plan(image, it.description, ahead=2)


async def test_an_error_of_the_network_is_its_image_s_alone_and_keeps_the_worker(one: Asking) -> None:
    pids, submit = one.workers.pids, one.submit

    def fail(tile: object) -> Future[object]:
        future: Future[object] = Future()
        future.set_exception(FloatingPointError("logits that are NaN"))
        return future

    one.submit = fail  # type: ignore[assignment]
    for _ in range(3):
        with pytest.raises(FloatingPointError, match="NaN"):
            await one.segment(PHOTO, Options(tile=(32, 32)))
    one.submit = submit  # type: ignore[method-assign]
    assert await one.segment(PHOTO, OPTIONS) == one.alone(PHOTO, OPTIONS)
    assert (one.workers.pids, one.deaths) == (pids, [])


@pytest.mark.parametrize("data", [PHOTO, LARGE, LARGE[: len(LARGE) // 2]], ids=["small", "large", "damaged"])
async def test_an_image_that_is_dropped_keeps_its_worker(one: Asking, data: bytes) -> None:
    pids = one.workers.pids
    for _ in range(5):
        async with one.workers.claim() as worker:
            await worker.plan(ImageRequest(Blob.of(data), OPTIONS, Limits()), one.description, 2)
            await worker.drop_image()
            assert worker.idle
        assert await one.segment(PHOTO, OPTIONS) == one.alone(PHOTO, OPTIONS)
    assert (one.workers.pids, one.deaths) == (pids, [])


async def test_a_worker_that_ends_while_its_image_is_dropped_is_replaced(one: Asking) -> None:
    async with one.workers.claim() as worker:
        await worker.plan(ImageRequest(Blob.of(PHOTO), OPTIONS, Limits()), one.description, 2)
        os.kill(worker.process.pid, signal.SIGKILL)
        await worker.drop_image()
        assert not worker.idle
    assert one.deaths == ["killed"]
    assert await one.segment(PHOTO, OPTIONS) == one.alone(PHOTO, OPTIONS)


async def test_workers_that_are_killed_at_fifty_moments_cost_at_most_their_own_image(runtime: Runtime) -> None:
    async with asking(runtime, 3) as it:
        expected, failures, answers, stop = it.alone(LARGE, OPTIONS), 0, 0, False

        async def ask() -> None:
            nonlocal failures, answers
            while not stop:
                try:
                    assert await it.segment(LARGE, OPTIONS) == expected
                    answers += 1
                except WorkerFailed:
                    failures += 1

        clients = [asyncio.create_task(ask()) for _ in range(6)]
        draw, kills = random.Random(0), 0
        while kills < 50:
            await asyncio.sleep(draw.uniform(0, 0.05))
            with suppress(ProcessLookupError, IndexError):
                os.kill(draw.choice(it.workers.pids), signal.SIGKILL)
                kills += 1
        stop = True
        await asyncio.gather(*clients)
        assert failures <= kills
        assert answers > 0
        assert await it.segment(LARGE, OPTIONS) == expected


async def test_a_worker_that_died_while_it_had_nothing_to_do_costs_nobody_anything(one: Asking) -> None:
    async with one.workers.claim() as worker:
        pass
    os.kill(worker.process.pid, signal.SIGKILL)
    await wait_until_async(lambda: bool(worker._frames.fault()))
    assert await one.segment(PHOTO, OPTIONS) == one.alone(PHOTO, OPTIONS)
    assert one.deaths == ["killed"]


async def test_an_image_that_is_given_up_has_its_worker_killed_and_replaced(one: Asking) -> None:
    tiles: list[Tile] = []

    def keep(tile: Tile) -> Future[Logits]:
        tiles.append(tile)
        return Future()

    submit, one.submit = one.submit, keep  # type: ignore[method-assign]
    given_up = asyncio.create_task(one.segment(PHOTO, OPTIONS))
    (pid,) = one.workers.pids
    await wait_until_async(lambda: bool(tiles))
    given_up.cancel()
    await wait_until_async(lambda: not psutil.pid_exists(pid))
    one.submit = submit  # type: ignore[method-assign]
    assert await one.segment(PHOTO, OPTIONS) == one.alone(PHOTO, OPTIONS)
    assert one.deaths == ["cancelled"]


@pytest.mark.parametrize(("early_s", "reason"), [(-0.1, "deadline"), (0.001, "deadline"), (0.1, "cancelled")])
async def test_a_deadline_s_timer_may_end_a_millisecond_early(
    one: Asking, monkeypatch: pytest.MonkeyPatch, early_s: float, reason: str
) -> None:
    clock = asyncio.get_running_loop()
    deadline = clock.time() + 60
    async with one.workers.claim(deadline) as worker:
        os.kill(worker.process.pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(worker.plan(ImageRequest(Blob.of(PHOTO), OPTIONS, Limits()), one.description, ahead=2), 0.1)
        monkeypatch.setattr(clock, "time", lambda: deadline - early_s)
    monkeypatch.undo()
    assert one.deaths == [reason]


async def test_a_worker_is_replaced_once_it_has_done_its_share_or_has_grown(
    one: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.inference.processes.worker.MOST_IMAGES", 3)
    for _ in range(7):
        await one.segment(PHOTO, OPTIONS)
    assert one.deaths == ["grown", "grown"]
    monkeypatch.undo()
    async with one.workers.claim() as worker:
        worker._first_bytes -= GROWN_BYTES  # as if it had grown by so much more
    assert one.deaths == ["grown"] * 3
    await one.segment(PHOTO, OPTIONS)
    assert one.deaths == ["grown"] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="limits are kept by Linux alone")
async def test_a_death_is_a_line_in_the_log_with_what_is_known_of_its_file(
    one: Asking, caplog: pytest.LogCaptureFixture
) -> None:
    data = overlapping_strips(40), png_with(chunk(b"aaAa", b"") * 5_000_000)
    for each in data:
        with pytest.raises(DamagedImage, match="needs more than"):
            await one.segment(each, OPTIONS)
    fields = [record.fields for record in caplog.records if record.message == "a worker process ended"]  # type: ignore[attr-defined]
    assert [(each["stage"], each["file"], each["reason"]) for each in fields] == [
        ("decode", "TIFF", "processor_time"), ("plan", "PNG", "processor_time"),
    ]  # fmt: skip
    assert [(each["bytes"], each["sha256"]) for each in fields] == [
        (len(each), hashlib.sha256(each).hexdigest()) for each in data
    ]
    assert fields[0]["size"] == "100000x40"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
async def test_signals_of_the_whole_group_do_not_end_a_worker(one: Asking, name: str) -> None:
    pids = one.workers.pids
    for pid in pids:
        os.kill(pid, getattr(signal, name))
    assert await one.segment(PHOTO, OPTIONS)
    assert (one.workers.pids, one.deaths) == (pids, [])


async def test_workers_that_are_stopped_are_gone_and_whoever_asks_is_told(one: Asking) -> None:
    pids = one.workers.pids
    async with one.workers.claim() as worker:
        worker.idle = False
        waits = asyncio.create_task(one.segment(PHOTO, OPTIONS))
        await asyncio.sleep(0)  # it begins, and waits for a worker
        await one.workers.stop()
    for ask in (waits, one.segment(PHOTO, OPTIONS)):
        with pytest.raises(WorkersStopped):
            await ask
    assert not any(map(psutil.pid_exists, pids))


class PausableLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock runs on while the process is paused, or while a call into C keeps the interpreter's lock."""

    pause_s = 0.0

    def time(self) -> float:
        return super().time() + self.pause_s


def test_a_pause_of_the_process_while_the_first_worker_starts_is_no_failure(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers_module, "RETRY_S", 0.01)

    async def inside() -> None:
        it, loop = Asking(runtime, 1), asyncio.get_running_loop()
        assert isinstance(loop, PausableLoop)
        start = asyncio.create_task(it.workers.start())
        for _ in range(10):  # turns in which it begins to start a worker, whose process takes far longer
            await asyncio.sleep(0)
        loop.pause_s = 10 * workers_module.START_S
        await start
        assert it.failures == []
        assert await it.segment(PHOTO, OPTIONS)
        await it.workers.stop()

    with asyncio.Runner(loop_factory=PausableLoop) as runner:
        runner.run(inside())
    assert "a worker could not be started: no answer within 15 s" in caplog.text


async def test_deaths_one_after_another_are_followed_by_longer_and_longer_pauses_of_half_of_the_workers(
    it: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    start = it.workers._start_worker

    def start_at_once(pause: float = 0.0) -> Coroutine[Any, Any, None]:
        pauses.append(pause)
        return start()

    monkeypatch.setattr(it.workers, "_start_worker", start_at_once)
    for _ in range(5):
        async with it.workers.claim() as worker:
            os.kill(worker.process.pid, signal.SIGKILL)
            with pytest.raises(WorkerFailed):
                await worker.plan(ImageRequest(Blob.of(PHOTO), OPTIONS, Limits()), it.description, ahead=2)
    assert [pause for pause in pauses if pause] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    await it.segment(PHOTO, OPTIONS)
    assert it.workers._deaths_in_a_row == 0


async def test_a_large_file_after_a_small_image_has_room(one: Asking) -> None:
    """The limits of an image end with it: the next one's bytes are read without them."""
    large = encode(make_photo(4000, 6000), "BMP")
    for data in (PHOTO, large, PHOTO, large):
        assert await one.segment(data, OPTIONS)
    assert one.deaths == []


def test_a_body_reads_the_same_in_memory_and_in_a_file_and_closes_once(tmp_path: Path) -> None:
    data = np.random.default_rng(0).bytes(3_000_000)
    for body in (Blob.of(data[:1000]), Blob.of(data)):
        whole = data[: body.length]
        assert body.read(700, 100) == whole[100:800]
        assert body.read(10**9) == whole
        for _ in range(2):
            body.close()
        assert not body.is_open
