"""Whose job runs next, whose scene is planned next, how long a turn takes, and a job whose process ends. None has a network."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from app.connections import Connections
from app.serving.errors import QueueFull
from app.serving.jobs import runner, store
from app.serving.jobs.job import Job, now
from app.serving.jobs.runner import MOST_OWN_PLANS, JobRunner, Tell, Work
from app.serving.jobs.store import JobStore
from app.serving.registry import Model, Registry
from tests.support.app.exchanges import assert_problem, connect, head, service_of
from tests.support.app.jobs import stored_jobs
from tests.support.app.services import Serve
from tests.support.costs import compares_times
from tests.support.polling import HANG_S, wait_until, wait_until_async
from tests.support.servers import over_http


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TURN_S", 0.0)
    monkeypatch.setattr(runner, "CHECK_S", 0.01)


async def send(jobs: JobRunner, model: Model, client: str, owner: str = "") -> None:
    async with jobs.store.upload(owner or client, 0) as (id, _):
        sha256 = model.segmenter.runtime.identity.sha256
        await jobs.submit(Job(id, owner, client, "zip", {}, model.name, sha256, created=now()))


def run_jobs(folder: Path, registry: Registry, work: Work, clients: list[str]) -> dict[str, Job]:
    """Runs a job of each client, an address or `KEY@ADDRESS`, until all have ended. Returns the last of each address."""

    async def run() -> None:
        jobs, model = JobRunner(JobStore(folder, 1e9, 1), registry, {False: work}), registry.get()
        for owner, _, client in (each.rpartition("@") for each in clients):
            await send(jobs, model, client, owner)
        jobs.start()
        await wait_until_async(lambda: not jobs.store.open_jobs())
        await jobs.stop()

    asyncio.run(run())
    return {job.client: job for job in stored_jobs(folder)}


def test_a_large_job_and_small_ones_take_turns_by_client(tmp_path: Path, registry: Registry) -> None:
    turns: list[str] = []

    async def work(job: Job, _folder: Path, _model: Model, tell: Tell) -> dict[str, int] | None:
        turns.append(job.client)
        await asyncio.sleep(0.3)
        if job.client == "small" or len(turns) > 6:
            return {}
        while tell(0.0):
            await asyncio.sleep(0.01)
        return None

    run_jobs(tmp_path, registry, work, ["large", *["small"] * 4, "other"])
    assert turns[:3] == ["large", "small", "other"]
    assert sorted(turns[3:6]) == ["large", "other", "small"]


def test_jobs_that_ended_long_ago_are_removed_beside_one_that_is_in_work_for_days(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(job: Job, *_: object) -> dict[str, int]:
        if job.client == "days":
            days_later = time.time() + 2 * 86_400
            with monkeypatch.context() as patch:
                patch.setattr(store, "time", SimpleNamespace(time=lambda: days_later))
                await wait_until_async(lambda: len(stored_jobs(tmp_path)) == 1)
        return {}

    assert [job.client for job in run_jobs(tmp_path, registry, work, ["old", "days"]).values()] == ["days"]


def test_a_key_has_one_share_of_the_turns_from_however_many_addresses(tmp_path: Path, registry: Registry) -> None:
    turns: list[str] = []

    async def work(job: Job, *_: object) -> dict[str, int]:
        turns.append(job.owner)
        await asyncio.sleep(0.02)
        return {}

    run_jobs(tmp_path, registry, work, ["many@1", "many@2", "many@3", "other@1"])
    assert turns[:2] == ["many", "other"]


def test_a_turn_is_counted_from_its_first_progress(tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a scene whose kept rows take longer than a turn to copy would do one tile in each."""
    monkeypatch.setattr(runner, "TURN_S", 1.0)
    steps: list[str] = []

    async def work(job: Job, _folder: Path, _model: Model, tell: Tell) -> dict[str, int] | None:
        await asyncio.sleep(1.2)
        while steps.count(job.client) < 4:
            steps.append(job.client)
            if not tell(0.0):
                return None
            await asyncio.sleep(0.01)
        return {}

    run_jobs(tmp_path, registry, work, ["a", "b"])
    assert steps[:4] == ["a"] * 4


def test_a_job_that_does_nothing_leaves_its_turn_to_others(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(runner.LONGEST_START_S, False, 0.1)
    turns: list[str] = []

    async def work(job: Job, *_: object) -> dict[str, int]:
        turns.append(job.client)
        await asyncio.sleep(3600 if turns == ["stuck"] else 0)
        return {}

    run_jobs(tmp_path, registry, work, ["stuck", "other"])
    assert turns == ["stuck", "other", "stuck"]


def test_a_start_that_takes_long_gets_more_time_and_one_without_end_fails_in_words(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(runner.LONGEST_START_S, False, 0.2)
    starts = Counter[str]()

    async def work(job: Job, _folder: Path, _model: Model, tell: Tell) -> dict[str, int] | None:
        starts[job.client] += 1
        await asyncio.sleep({"long": 0.5, "endless": 3600, "waits": 0}[job.client])
        while job.client == "waits" and starts["endless"] < runner.MOST_CRASHES:
            if not tell(0.0):
                return None
            await asyncio.sleep(0.01)
        return {}

    jobs = run_jobs(tmp_path, registry, work, ["long", "endless", "waits"])
    assert {client: job.status for client, job in jobs.items()} == {
        "long": "successful", "endless": "failed", "waits": "successful"
    }  # fmt: skip
    assert (starts["long"], starts["endless"]) == (3, 3)
    assert "its turns brought nothing new" in jobs["endless"].message


def test_a_job_whose_process_ends_again_and_again_fails_though_kept_rows_are_told_anew(
    tmp_path: Path, registry: Registry
) -> None:
    turns: list[str] = []

    async def work(job: Job, _folder: Path, _model: Model, tell: Tell) -> dict[str, int]:
        turns.append(job.client)
        tell(0.5)
        if len(turns) < 9:
            raise ConnectionError("its process ended")
        return {}

    job = run_jobs(tmp_path, registry, work, ["a"])["a"]
    assert (job.status, len(turns)) == ("failed", 3)


@compares_times
def test_clients_with_fresh_names_take_no_turns_away_from_a_job_that_stays(tmp_path: Path, registry: Registry) -> None:
    """Each sends one short job, and two of them wait at any time: before, they came first for ever."""
    seconds = dict.fromkeys(("stays", "fresh"), 0.0)

    async def run() -> None:
        store = JobStore(tmp_path, 1e9, 1)

        async def work(job: Job, _folder: Path, _model: Model, tell: Tell) -> dict[str, int] | None:
            is_short, start = job.client != "stays", time.monotonic()
            if is_short:
                await send(jobs, model, f"fresh {time.monotonic()}")
            while not is_short and tell(0.0):
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.02)
            seconds["fresh" if is_short else "stays"] += time.monotonic() - start
            return {} if is_short else None

        jobs, model = JobRunner(store, registry, {False: work}), registry.get()

        for client in ("stays", "fresh 1", "fresh 2"):
            await send(jobs, model, client)
        jobs.start()
        await wait_until_async(lambda: seconds["fresh"] > 2)
        await jobs.stop()

    asyncio.run(run())
    assert seconds["stays"] >= 0.15 * sum(seconds.values())


def test_scenes_whose_clients_have_gone_leave_the_queue_and_wait_without_memory(
    serve: Serve, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.jobs.plan_scene", lambda *_: asyncio.sleep(3600))
    with serve(jobs_dir=tmp_path) as client, ExitStack() as stack:
        service, content = service_of(client), scene.read_bytes()
        port = stack.enter_context(over_http(client, Connections(99, service.clients).protocol))
        with ExitStack() as senders:
            for _ in range(MOST_OWN_PLANS):
                sender = senders.enter_context(connect(port))
                sender.sendall(head(len(content), path="/jobs?output=tif") + content)
            wait_until(lambda: len([*tmp_path.glob("*/work/000000")]) == MOST_OWN_PLANS and not service.admission.used_bytes)
            address = f"http://127.0.0.1:{port}/jobs?output=tif"
            assert_problem(httpx.post(address, content=content, timeout=HANG_S), 503, "8 scenes of yours wait to be opened")
        wait_until(lambda: [path.name for path in tmp_path.iterdir()] == [".lock"])
        monkeypatch.undo()
        assert httpx.post(address, content=content, timeout=HANG_S).status_code == 201


def test_an_unexpected_error_of_one_turn_ends_no_other_job(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as that of a job whose times cannot be compared."""
    monkeypatch.setattr(runner, "RESTART_S", 0.01)
    turns: list[str] = []

    async def work(job: Job, _folder: Path, _model: Model, _tell: Tell) -> dict[str, int]:
        turns.append(job.client)
        if job.client == "odd":
            job.started = "2026-11-30T00:00:00"  # without a zone
        return {}

    with pytest.raises(ValueError, match="is no job of this folder"):  # nor can the next start read these times
        run_jobs(tmp_path, registry, work, ["odd", "other"])
    messages = [record.message for record in caplog.records if record.exc_info]
    assert [*turns, *messages] == ["odd", "other", "unexpected error; the other jobs go on in 0.01 s"]


def test_a_stop_in_the_pause_after_an_unexpected_error_begins_no_turn(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runner, "RESTART_S", 0.1)

    async def run() -> None:
        store = JobStore(tmp_path, 1e9, 1)
        monkeypatch.setattr(store, "remove_old", None)  # so that each loop fails
        jobs = JobRunner(store, registry, {})
        jobs.start()
        await wait_until_async(lambda: "unexpected error" in caplog.text)
        await jobs.stop()
        await asyncio.sleep(0.3)

    asyncio.run(run())
    assert caplog.text.count("unexpected error") == 1


def test_a_client_plans_one_scene_at_a_time_and_holds_no_other_s(tmp_path: Path, registry: Registry) -> None:
    order: list[str] = []

    async def run() -> None:
        jobs = JobRunner(JobStore(tmp_path, 1e9, 1), registry, {})
        end = asyncio.Event()

        async def plan(client: str) -> None:
            async with jobs.planning(client):
                order.append(client)
                await (end.wait() if client == "flood" else asyncio.sleep(0.01))

        flood = [asyncio.create_task(plan("flood")) for _ in range(MOST_OWN_PLANS)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="of yours wait to be opened"):
            await plan("flood")
        await asyncio.gather(*(plan(client) for client in ["one", "two", "one", "three"]))
        for task in flood[1:3]:  # one waits for its client's turn
            task.cancel()
        end.set()
        await asyncio.gather(*flood, return_exceptions=True)
        await plan("last")
        jobs.store.close()

    asyncio.run(run())
    assert (order[0], sorted(order[1:5]), order[5:]) == (
        "flood",
        ["one", "one", "three", "two"],
        ["flood"] * (MOST_OWN_PLANS - 3) + ["last"],
    )
