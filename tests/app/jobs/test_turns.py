"""Whose job runs next, whose scene is planned next, how long a turn takes, and a job whose process ends. None has a network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.serving.jobs import runner
from app.serving.jobs.job import Job, now
from app.serving.jobs.runner import JobRunner, Work
from app.serving.jobs.store import JobStore
from app.serving.registry import Model, Registry
from tests.support.app.services import Serve
from tests.support.polling import wait_until_async

Tell = Callable[[float], None]


@pytest.fixture(scope="module")
def registry(serve: Serve) -> Iterator[Registry]:
    with serve() as client:
        yield client.app.state.service.registry  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TURN_S", 0.0)
    monkeypatch.setattr(runner, "CHECK_S", 0.01)


def run_jobs(folder: Path, registry: Registry, work: Work, clients: list[str]) -> JobRunner:
    """Runs a job of each client until all have ended."""

    async def run() -> JobRunner:
        store = JobStore(folder, 1e9, 1)
        jobs, model = JobRunner(store, registry, {False: work}), registry.get()
        for client in clients:
            async with store.upload(client, 0) as (id, _):
                sha256 = model.segmenter.runtime.identity.sha256
                await jobs.submit(Job(id, "", client, "zip", {}, model.name, sha256, created=now()))
        jobs.start()
        await wait_until_async(lambda: not any(job.is_open for job in store.jobs()))
        await jobs.stop()
        return jobs

    return asyncio.run(run())


def test_a_large_job_and_small_ones_take_turns_by_client(tmp_path: Path, registry: Registry) -> None:
    turns: list[str] = []

    async def work(job: Job, _folder: Path, _model: Model, tell: Tell) -> dict[str, int]:
        turns.append(job.client)
        tell(0.0)
        await asyncio.sleep(0 if job.client == "small" or len(turns) > 9 else 3600)
        return {}

    run_jobs(tmp_path, registry, work, ["large", *["small"] * 4, "other"])
    assert turns[:6] == ["large", "small", "other", "large", "small", "other"]


def test_a_turn_lasts_until_something_is_done_that_is_kept(tmp_path: Path, registry: Registry) -> None:
    """Else two jobs, whose steps take longer than a turn, would never end."""
    done: dict[str, int] = {}

    async def work(job: Job, _folder: Path, _model: Model, tell: Tell) -> dict[str, int]:
        while done.get(job.client, 0) < 3:
            await asyncio.sleep(0.1)
            done[job.client] = done.get(job.client, 0) + 1
            tell(done[job.client] / 3)
        return {}

    run_jobs(tmp_path, registry, work, ["a", "b"])
    assert done == {"a": 3, "b": 3}


def test_a_job_that_does_nothing_leaves_its_turn_to_others(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LONGEST_TURN_S", 0.1)
    turns: list[str] = []

    async def work(job: Job, *_: object) -> dict[str, int]:
        turns.append(job.client)
        await asyncio.sleep(3600 if turns == ["stuck"] else 0)
        return {}

    run_jobs(tmp_path, registry, work, ["stuck", "other"])
    assert turns == ["stuck", "other", "stuck"]


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

    (job,) = run_jobs(tmp_path, registry, work, ["a"]).store.jobs()
    assert (job.status, len(turns)) == ("failed", 3)


def test_scenes_are_planned_one_at_a_time_and_by_clients_in_turn(tmp_path: Path, registry: Registry) -> None:
    order: list[str] = []

    async def run() -> None:
        jobs = JobRunner(JobStore(tmp_path, 1e9, 1), registry, {})

        async def plan(client: str) -> None:
            async with jobs.planning(client):
                order.append(client)
                await asyncio.sleep(0.01)

        await asyncio.gather(*(plan(client) for client in [*["flood"] * 5, "one", "two"]))
        jobs.store.close()

    asyncio.run(run())
    assert order[:4] == ["flood", "one", "two", "flood"]
