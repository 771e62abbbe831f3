"""What a request's place becomes when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from starlette.requests import Request
from starlette.types import Message

from app.errors import TimedOut, Unavailable
from app.jobs import AT_ONCE_BYTES, Job
from app.service import Service
from app.waiting import answer
from app.workers import Workers
from imaging.answer import Rendering
from tests.app.asking import PHOTO
from tests.app.conftest import Serve
from tests.conftest import encoded, make_photo, wait_for


def request_of_a_client_that_stays() -> Request:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    return Request({"type": "http", "method": "POST", "path": "/segment", "headers": []}, receive)


def job_of(service: Service, data: bytes = PHOTO) -> Job:
    return Job(data, service.options(), Rendering(), service.deadline())


async def cancelled(work: asyncio.Task[bytes]) -> None:
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work


@pytest.mark.parametrize("fails", [False, True], ids=["let in", "refused"])
def test_who_is_cancelled_while_being_let_in_leaves_no_tile_behind(service: Service, fails: bool) -> None:
    assert service.engine
    entered, go = threading.Event(), threading.Event()

    def before(job: Job) -> None:
        entered.set()
        assert go.wait(30)
        if fails:
            raise ValueError("refused")

    async def ask() -> None:
        work = asyncio.create_task(answer(request_of_a_client_that_stays(), service, job_of(service), before))
        assert await asyncio.to_thread(entered.wait, 30)
        await cancelled(work)
        assert service.queued_tiles > 0
        go.set()

    asyncio.run(ask())
    wait_for(lambda: service.queued_tiles == 0)
    assert [corridor._jobs for corridor in service.corridors] == [0]


def test_a_cancelled_request_keeps_its_tiles_until_its_thread_is_done_with_it(service: Service) -> None:
    slots = service.pools.slots
    for _ in range(2):
        slots.take()

    async def ask() -> None:
        work = asyncio.create_task(answer(request_of_a_client_that_stays(), service, job_of(service)))
        await asyncio.to_thread(wait_for, lambda: bool(slots._waiting))
        await cancelled(work)
        assert service.queued_tiles > 0

    try:
        asyncio.run(ask())
        assert service.queued_tiles > 0
    finally:
        for _ in range(2):
            slots.leave()
    wait_for(lambda: service.queued_tiles == 0)
    assert [corridor._jobs for corridor in service.corridors] == [0]


def test_who_is_let_in_is_processed_also_while_the_event_loop_is_busy(service: Service) -> None:
    job = job_of(service)

    async def ask() -> bytes:
        work = asyncio.create_task(answer(request_of_a_client_that_stays(), service, job))
        await asyncio.sleep(0)
        wait_for(lambda: "encode" in job.stages)
        return await work

    assert asyncio.run(ask())


@contextmanager
def all_slots_taken(service: Service, go: threading.Event) -> Iterator[None]:
    """Until `go`, or the end."""
    slots = service.pools.slots
    count = slots._count or 0
    for _ in range(count):
        slots.take()

    def leave() -> None:
        go.wait(90)
        for _ in range(count):
            slots.leave()

    leaving = threading.Thread(target=leave)
    leaving.start()
    try:
        yield
    finally:
        go.set()
        leaving.join()


SHORT_HEADER = encoded(make_photo(90, 130), "JPEG")


@pytest.mark.parametrize(
    ("data", "at_once"),
    [(SHORT_HEADER, True), (SHORT_HEADER + bytes(AT_ONCE_BYTES), False), (PHOTO, False)],
    ids=["a JPEG", "a large JPEG", "a PNG"],
)
def test_a_small_jpeg_alone_waits_for_no_thread_that_reads_headers(service: Service, data: bytes, at_once: bool) -> None:
    go, threads = threading.Event(), service.pools.heads._max_workers
    busy = [service.pools.heads.submit(go.wait, 90) for _ in range(threads)]

    async def ask() -> None:
        work = asyncio.create_task(answer(request_of_a_client_that_stays(), service, job_of(service, data)))
        if not at_once:
            await asyncio.to_thread(wait_for, lambda: service.pools.heads._work_queue.qsize() == 1)
            go.set()
        assert await work

    try:
        asyncio.run(ask())
        assert not at_once or not any(each.done() for each in busy)
    finally:
        go.set()


@contextmanager
def all_threads_busy(service: Service) -> Iterator[list[Workers]]:
    """The threads of images that are not large; until the end."""
    go = threading.Event()
    pools = [service.pools.lone, service.pools.small]
    for pool in pools:
        for _ in pool._threads:
            pool.submit(go.wait, 90)
    try:
        yield pools
    finally:
        go.set()


def test_who_is_cancelled_while_waiting_for_a_thread_gives_its_place_back_at_once(service: Service) -> None:
    async def ask(pools: list[Workers]) -> None:
        work = asyncio.create_task(answer(request_of_a_client_that_stays(), service, job_of(service)))
        await asyncio.to_thread(wait_for, lambda: sum(len(pool._waiting) for pool in pools) == 1)
        await cancelled(work)
        await asyncio.to_thread(wait_for, lambda: service.queued_tiles == 0)

    with all_threads_busy(service) as pools:
        asyncio.run(ask(pools))


def request_of_a_client_that_goes(gone: asyncio.Event) -> Request:
    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "method": "POST", "path": "/segment", "headers": []}, receive)


def test_a_result_that_comes_after_its_client_has_gone_is_dropped(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    job, go = job_of(service), threading.Event()

    async def ask() -> None:
        gone = asyncio.Event()
        work = asyncio.create_task(answer(request_of_a_client_that_goes(gone), service, job))
        await asyncio.to_thread(wait_for, lambda: bool(service.pools.slots._waiting))
        gone.set()
        with pytest.raises(TimedOut, match="the client went away"):
            await work
        go.set()
        await asyncio.to_thread(wait_for, lambda: service.queued_tiles == 0)
        await asyncio.sleep(0.1)

    with all_slots_taken(service, go):
        asyncio.run(ask(), debug=True)
    assert not caplog.records


def test_a_result_that_comes_after_the_event_loop_is_closed_is_dropped(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    go = threading.Event()

    async def ask() -> None:
        work = asyncio.create_task(answer(request_of_a_client_that_stays(), service, job_of(service)))
        await asyncio.to_thread(wait_for, lambda: bool(service.pools.slots._waiting))
        await cancelled(work)

    with all_slots_taken(service, go):
        asyncio.run(ask())
        go.set()
        wait_for(lambda: service.queued_tiles == 0)
    assert not caplog.records


def test_who_waits_for_a_thread_when_the_service_stops_is_told_to_come_again(serve: Serve) -> None:
    async def ask(service: Service, pools: list[Workers]) -> None:
        work = asyncio.create_task(answer(request_of_a_client_that_stays(), service, job_of(service)))
        await asyncio.to_thread(wait_for, lambda: sum(len(pool._waiting) for pool in pools) == 1)
        for pool in pools:
            pool.shutdown()
        with pytest.raises(Unavailable, match="the service is stopping") as refused:
            await work
        assert refused.value.headers == {"Retry-After": "1"}

    with serve() as client:
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        with all_threads_busy(service) as pools:
            asyncio.run(ask(service, pools))
