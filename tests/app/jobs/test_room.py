"""What each client may have of the room for jobs: places in the table, bytes and files."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.serving.clients import Client, Clients
from app.serving.errors import DiskFull, QueueFull
from app.serving.jobs import folders, runner, store
from app.serving.jobs.job import WORK, Job, now
from app.serving.jobs.runner import JobRunner, Tell
from app.serving.jobs.shares import Ranking, Use, share
from app.serving.jobs.store import JobStore
from app.serving.registry import Model, Registry
from tests.support.app.exchanges import PHOTO, connect, service_of
from tests.support.app.jobs import ended, result_of, stored_jobs, submit, submit_photos
from tests.support.app.services import Serve
from tests.support.costs import compares_times, cpu_seconds
from tests.support.polling import wait_until, wait_until_async
from tests.support.servers import over_http

LIMIT = 30_000_000
MB = 1_000_000


@pytest.mark.parametrize(
    ("uses", "most"),
    [
        ({}, 100), ({"a": 90}, 100), ({"b": 1}, 49), ({"b": 50}, 25), ({"b": 100}, 25), ({"b": 400}, 25),
        ({"a": 60, "b": 20}, 40), ({"b": 50, "c": 25}, 12), ({"b": 50, "c": 50}, 0),
    ],
    ids=str,
)  # fmt: skip
def test_a_client_may_have_half_of_what_the_others_leave_and_alone_all(uses: dict[str, int], most: int) -> None:
    assert share(100, "a", Ranking(uses)) == most


def test_announced_bytes_keep_nobody_out(serve: Serve, tmp_path: Path) -> None:
    head = "POST /jobs?output=zip HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16000000\r\n\r\n"
    with serve(jobs_dir=tmp_path, jobs_mb=16.1, job_upload_mb=16.1) as client, over_http(client) as port, ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(connect(port)).sendall(head.encode() + bytes(12_000))
        wait_until(lambda: len(service_of(client).background.bodies) == 4)
        assert not service_of(client).admission.used_bytes  # memory of requests
        assert submit_photos(client, {"a.png": PHOTO}, output="zip")


def test_a_client_has_few_uploads_at_once_and_what_many_leave_is_removed_in_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removing takes a thread, which other requests need, and the interpreter: ten thousand files take seconds."""
    clients, order, removals = dict[str, str](), list[str](), threading.Semaphore()

    def erase(folder: Path) -> None:
        assert removals.acquire(blocking=False), "another one is being removed"
        time.sleep(0.01)
        order.append(clients[folder.name])
        folders.erase(folder)
        removals.release()

    async def leave(jobs: JobStore, client: str, end: asyncio.Event) -> None:
        async with jobs.upload(client, 0, Client(lambda: 0, lambda: None)) as (id, _):
            clients[id] = client
            await end.wait()

    async def run() -> None:
        jobs, end = JobStore(tmp_path, LIMIT, 1), asyncio.Event()
        uploads = [asyncio.create_task(leave(jobs, client, end)) for client in ["many"] * store.MOST_UPLOADS + ["other"]]
        await wait_until_async(lambda: len(clients) == len(uploads))
        with pytest.raises(QueueFull, match=f"{store.MOST_UPLOADS} uploads of yours"):
            await leave(jobs, "many", end)
        end.set()
        await asyncio.gather(*uploads)
        jobs.close()

    monkeypatch.setattr(store, "erase", erase)
    asyncio.run(run())
    assert order.index("other") <= 1


def test_a_few_clients_cannot_have_all_places_of_uploads(serve: Serve, tmp_path: Path) -> None:
    """In a machine of 2 GB there is memory for 37, and a client may have 16."""

    async def run(jobs: JobStore) -> list[int]:
        counts = list[int]()
        async with AsyncExitStack() as stack:
            for client in "abc":
                counts.append(0)
                with suppress(QueueFull):
                    while counts[-1] < 99:
                        await stack.enter_async_context(jobs.upload(client, 0, Client(lambda: 0, lambda: None)))
                        counts[-1] += 1
            await stack.enter_async_context(jobs.upload("other", 0, Client(lambda: 0, lambda: None)))
        return counts

    with serve(jobs_dir=tmp_path, memory_mb=1243) as client:
        jobs: JobStore = service_of(client).jobs  # type: ignore[assignment]
        assert asyncio.run(run(jobs)) == [16, 10, 5]


def test_an_upload_leaves_its_turn_to_others_after_some_hundred_files(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = list[int]()
    with serve(jobs_dir=tmp_path) as client:
        uploads = service_of(client).jobs.uploads  # type: ignore[union-attr]
        turn = uploads.turn

        @asynccontextmanager
        async def counted(account: str) -> AsyncIterator[None]:
            async with turn(account):
                before = len([*tmp_path.glob(f"*/{WORK}/0*")])
                yield
                files.append(len([*tmp_path.glob(f"*/{WORK}/0*")]) - before)

        monkeypatch.setattr(uploads, "turn", counted)
        client.post("/jobs", params={"output": "zip"}, files=[("file", ("a", b"x"))] * 3000)
    assert (sum(files), max(files) <= 1000) == (3000, True), files


def test_only_the_names_of_an_upload_are_written_by_a_thread_outside_of_a_turn(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many uploads may end at once, and would look through their files in all threads."""
    outside, to_thread = set[str](), asyncio.to_thread

    async def noted(work: Callable[..., object], *arguments: object) -> object:
        outside.update([] if jobs.uploads.counts or jobs.removals.counts else [work.__name__])
        return await to_thread(work, *arguments)

    with serve(jobs_dir=tmp_path) as client:
        jobs: JobStore = service_of(client).jobs  # type: ignore[assignment]
        service_of(client).ending = True  # no job begins
        monkeypatch.setattr("asyncio.to_thread", noted)
        for content, status in ((b"x", 415), (PHOTO, 201)):
            files = [("file", ("a", each)) for each in (b"x", content)]
            assert client.post("/jobs", params={"output": "zip"}, files=files).status_code == status
        assert outside == {"write_names"}


def test_a_slow_upload_is_closed_once_another_client_needs_what_it_has(tmp_path: Path) -> None:
    clock, closed = [0.0], list[str]()

    async def run() -> None:
        jobs = JobStore(tmp_path, LIMIT, 1, Clients())
        async with AsyncExitStack() as uploads:
            for name, moved in (("slow", 0), ("fast", 10 * MB)):
                sender = Client(
                    lambda moved=moved: int(moved * clock[0]), lambda name=name: closed.append(name), lambda: clock[0]
                )  # type: ignore[misc]
                uploads.enter_context(sender.waiting())
                id, _ = await uploads.enter_async_context(jobs.upload(name, 0, sender))
                await jobs.check_room(id, 9 * MB, 1)
            clock[0] = 6.0
            id, _ = await uploads.enter_async_context(jobs.upload("new", 0))
            await jobs.check_room(id, 5 * MB, 1)
            with pytest.raises(DiskFull, match="you at most half of what the others leave"):
                await jobs.check_room(id, 7 * MB, 1)
        assert jobs.used_bytes() == 0
        jobs.close()

    asyncio.run(run())
    assert closed == ["slow"]


def test_a_full_table_has_room_for_a_new_client_and_none_for_what_was_dismissed(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_JOBS", 4)
    with serve(jobs_dir=tmp_path, api_keys="ann:one,bob:two") as client:
        client.headers["X-API-Key"] = "one"
        ids = [submit(client, PHOTO, output="zip") for _ in range(4)]
        assert [ended(client, id)["status"] for id in ids] == ["successful"] * 4
        client.headers["X-API-Key"] = "two"
        for _ in range(6):  # none of which stays
            id = submit(client, PHOTO, output="zip")
            client.delete(f"/jobs/{id}")
            assert client.get(f"/jobs/{id}").status_code == 404
        client.headers["X-API-Key"] = "one"
        assert [job["jobID"] for job in client.get("/jobs").json()["jobs"]] == ids[:0:-1]
        assert {path.name for path in tmp_path.iterdir()} == {".lock", *ids[1:]}


@pytest.mark.parametrize(("of_disk", "reserve"), [(1 << 20, store.RESERVE_FILES), (100_000, 10_000)])
def test_uploads_leave_files_of_the_disk_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_disk: int, reserve: int
) -> None:
    room, size = 5, 1 << 20
    disk = SimpleNamespace(f_bavail=size, f_frsize=4096, f_files=of_disk, f_favail=reserve + store.FOLDERS + room)

    async def run() -> None:
        jobs = JobStore(tmp_path, LIMIT, 1)
        monkeypatch.setattr("os.statvfs", lambda _: disk)
        async with jobs.upload("a", 0) as (id, _):
            await jobs.check_room(id, 0, room)
            disk.f_favail -= store.FOLDERS + room
            with pytest.raises(DiskFull, match=f"reserve of 537 MB and {store.RESERVE_FILES} files"):
                await jobs.check_room(id, 0, room + 1)
        jobs.close()

    asyncio.run(run())


@compares_times  # what is removed, and what is written meanwhile
@pytest.mark.parametrize(
    ("uploads", "files", "statuses"),
    [
        ({"a": 1}, 20, {"a": "successful"}),  # alone, nearly all
        ({"a": 1}, 60, {"a": "failed"}),
        ({"b": 20, "a": 1}, 20, {"b": "failed", "a": "successful"}),  # b has most, and waits
        ({"b": 5, "a": 1}, 40, {"b": "successful", "a": "failed"}),
    ],
    ids=str,
)
def test_results_and_working_files_count_while_they_grow_and_the_client_with_most_gives(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, uploads: dict[str, int], files: int,
    statuses: dict[str, str],
) -> None:  # fmt: skip
    monkeypatch.setattr(runner, "CHECK_S", 0.01)
    monkeypatch.setattr(runner, "TURN_S", 0.0)
    most = 0

    async def work(job: Job, folder: Path, _model: Model, tell: Tell) -> dict[str, int] | None:
        nonlocal most
        while job.client == "b" and "a" in (each.client for each in jobs.open_jobs()):
            if not tell(0.0):
                return None
            await asyncio.sleep(0.02)
        for index in range(files if job.client == "a" else 0):
            (folder / WORK / f"{index}.part").write_bytes(bytes(MB))
            most = max(most, sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()))
            await wait_until_async(lambda: job.bytes > index * MB)  # noqa: B023 (it is measured)
        return {}

    jobs = JobStore(tmp_path, LIMIT, 1)

    async def run() -> dict[str, Job]:
        running, model = JobRunner(jobs, registry, {False: work}), registry.get()
        for client, size in uploads.items():
            async with jobs.upload(client, 0) as (id, folder):
                await jobs.check_room(id, size * MB, 1)
                (folder / WORK / "000000").write_bytes(bytes(size * MB))
                sha256 = model.segmenter.runtime.identity.sha256
                await running.submit(Job(id, "", client, "zip", {}, model.name, sha256, created=now()))
        running.start()
        await wait_until_async(lambda: not jobs.open_jobs())
        await running.stop()
        return {job.client: job for job in stored_jobs(tmp_path)}

    by_client = asyncio.run(run())
    assert {client: job.status for client, job in by_client.items()} == statuses
    assert most < LIMIT + 3 * MB
    for job in by_client.values():
        assert job.status == "successful" or "is 30 MB (SEGMENT_JOBS_MB), and yours have the most" in job.message


@pytest.mark.parametrize(
    ("has", "statuses"), [([26], ["failed"]), ([2] * 14, ["accepted"] * 10 + ["failed"] * 4)], ids=["one", "many"]
)
def test_uploads_that_need_room_at_once_take_no_job_twice_and_each_fails_in_words(
    tmp_path: Path, registry: Registry, has: list[int], statuses: list[str]
) -> None:
    jobs = JobStore(tmp_path, LIMIT, 1)

    async def run() -> None:
        running = JobRunner(jobs, registry, {})
        for size in has:
            async with jobs.upload("most", 0) as (id, folder):
                await jobs.check_room(id, size * MB, 1)
                (folder / WORK / "000000").write_bytes(bytes(size * MB))
                await running.submit(Job(id, "", "most", "zip", {}, "m", "0", created=now()))
        async with jobs.upload("one", 0) as (one, _), jobs.upload("two", 0) as (two, _):
            await asyncio.gather(*(jobs.check_room(each, 4 * MB, 1) for each in (one, two)))
        await running.stop()

    asyncio.run(run())
    assert sorted(job.status for job in stored_jobs(tmp_path)) == statuses


def test_a_limit_that_was_lowered_takes_from_the_client_with_most_and_keeps_nobody_else_out(
    serve: Serve, tmp_path: Path
) -> None:
    for index in range(3):
        (folder := tmp_path / f"{index:032x}").mkdir()
        job = Job(folder.name, "", "b", "zip", {}, "m", "0", "successful", now(), finished=now())
        job.save(folder)
        (folder / "result.zip").touch()
        os.truncate(folder / "result.zip", 10 * MB)
    with serve(jobs_dir=tmp_path, jobs_mb=12, job_upload_mb=12) as client:
        result_of(client, submit_photos(client, {"a.png": PHOTO}, output="zip"))
        assert [client.get(f"/jobs/{index:032x}").status_code for index in range(3)].count(200) == 1
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 12 * MB


def store_with(folder: Path, monkeypatch: pytest.MonkeyPatch, count: int, clients: int) -> JobStore:
    """Jobs that have ended, of so many clients in turn."""
    jobs = [
        (Job(f"{i:032x}", "", f"{i % clients}", "zip", {}, "m", "0", "successful", now(), finished=now()), Use(1, 4096, 3))
        for i in range(count)
    ]
    monkeypatch.setattr(store, "read_jobs", lambda *_: jobs)
    table = JobStore(folder, 1e12, 1)
    asyncio.run(table.load())
    return table


async def send(table: JobStore, client: str) -> None:
    async with table.upload(client, 0) as (id, _):
        await table.check_room(id, 4096, 1)


@compares_times
@pytest.mark.parametrize("clients", [9, 10_000])
def test_a_new_job_and_a_page_take_the_loop_no_longer_beside_ten_thousand_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clients: int
) -> None:
    def costs(count: int) -> list[float]:
        table = store_with(tmp_path / str(count), monkeypatch, count, clients)
        pages = cpu_seconds(lambda: [table.page("0", 0, 100) for _ in range(100)])
        with asyncio.Runner() as loop:
            seconds = cpu_seconds(lambda: loop.run(send(table, "new")), tries=9)
        table.close()
        return [pages, seconds]

    for few, many in zip(costs(100), costs(10_000), strict=True):
        assert many <= 5 * few


def test_a_table_that_many_clients_have_filled_has_room_for_who_has_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_JOBS", 4)
    table = store_with(tmp_path, monkeypatch, 4, 4)
    asyncio.run(send(table, "new"))
    assert table.counts()["successful"] == 3
    table.close()
    table = store_with(tmp_path / "own", monkeypatch, 4, 2)
    asyncio.run(send(table, "0"))  # its own oldest
    assert [table.page(client, 0, 9)[1] for client in "01"] == [1, 2]
    table.close()


def test_a_job_that_ended_before_the_clock_was_put_back_keeps_no_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = store_with(tmp_path, monkeypatch, 9, 2)
    for job, finished in zip(table.ended_jobs(), ["2999-01-01T00:00:00Z", "2020-01-01T00:00:00Z"], strict=False):
        job.finished = finished
    asyncio.run(table.remove_old())
    assert [int(job.id, 16) for job in table.ended_jobs()] == [0, 2, 3, 4, 5, 6, 7, 8]
    table.close()


@compares_times
@pytest.mark.long
def test_ten_thousand_ended_jobs_are_read_in_ten_times_the_time_of_a_thousand(tmp_path: Path) -> None:
    seconds = []
    for count in (1000, 10_000):
        for index in range(count):
            (folder := tmp_path / str(count) / f"{index:032x}").mkdir(parents=True)
            Job(folder.name, "", f"{index % 9}", "zip", {}, "m", "0", "successful", now(), finished=now()).save(folder)
        jobs, start = JobStore(tmp_path / str(count), LIMIT, 1), time.perf_counter()
        asyncio.run(jobs.load())
        seconds.append(time.perf_counter() - start)
        assert jobs.counts()["successful"] == count
        jobs.close()
    assert seconds[1] < 25 * seconds[0]
