"""The process that forks workers: stopped, killed, hanging, unable to fork; and what workers may do and know."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from model.inference.errors import WorkerFailed
from model.inference.processes import forkserver, workers
from model.inference.processes import worker as worker_module
from model.inference.processes.confinement import landlock_version
from model.inference.processes.forkserver import ALLOCATOR, PASSED, worker_environment
from model.inference.processes.worker import Worker
from model.inference.runtime import Runtime
from tests.support.model.workers import OPTIONS, PHOTO, Asking, asking
from tests.support.polling import wait_until_async
from tests.support.variants import long

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")]
SECRET = "K3y-" + "that-no-worker-knows"
UNABLE = """
import errno, os
fork, tries = os.fork, iter(range({failures}))
def refuse():
    if next(tries, None) is None:
        return fork()
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
os.fork = refuse
"""
HANGING = "import time; time.sleep(1000)\n"
STOPPED_AT_ITS_START = """
import os, signal
from model.inference.processes import worker_process
worker_process.serve = lambda channel: os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts end soon, and are soon repeated."""
    monkeypatch.setattr(workers, "ATTEMPT_S", 3.0)
    monkeypatch.setattr(workers, "RETRY_S", 0.01)


def forkserver_of(it: Asking) -> psutil.Process:
    (process,) = {psutil.Process(pid).parent() for pid in it.workers.pids}
    assert process
    return process


def have_ended(processes: list[psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)


async def all_start(it: Asking, count: int) -> list[psutil.Process]:
    """Claims so many workers at once, so that all of them are started."""
    claims = [it.workers.claim() for _ in range(count)]
    for claim in claims:
        await claim.__aenter__()
    for claim in claims:
        await claim.__aexit__(None, None, None)
    return [psutil.Process(pid) for pid in it.workers.pids]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_who_forks_workers_is_replaced_with_all_of_them_when_it_ends(it: Asking, number: signal.Signals) -> None:
    processes = [forkserver_of(it), *await all_start(it, 2)]
    processes[0].send_signal(number)
    if number == signal.SIGKILL:
        await wait_until_async(lambda: have_ended(processes) and len(it.deaths) == 2)
    assert await it.segment(PHOTO, OPTIONS) == it.alone(PHOTO, OPTIONS)
    assert it.deaths == (["replaced"] * 2 if number == signal.SIGKILL else [])
    assert have_ended(processes) == (number == signal.SIGKILL)


@pytest.mark.usefixtures("hasty")
async def test_who_forks_workers_and_is_stopped_is_replaced_once_a_worker_is_needed(it: Asking) -> None:
    first, *processes = [forkserver_of(it), *await all_start(it, 2)]
    first.suspend()
    assert await it.segment(PHOTO, OPTIONS)  # the workers go on
    for process in processes:
        process.kill()
    await wait_until_async(lambda: have_ended(processes))
    await asyncio.sleep(0.1)  # the sockets' ends are read
    assert await it.segment(PHOTO, OPTIONS) == it.alone(PHOTO, OPTIONS)
    assert have_ended([first, *processes])


@pytest.mark.parametrize("moment", [*long("idle"), "planning", "starting"])
async def test_nothing_that_is_stopped_outlives_the_workers_stop(runtime: Runtime, moment: str) -> None:
    async with asking(runtime, 3) as it:
        processes = [forkserver_of(it), *await all_start(it, 2)]
        for process in processes:
            process.suspend()
        if moment != "idle":
            asks = [asyncio.create_task(it.segment(PHOTO, OPTIONS)) for _ in range(2 if moment == "planning" else 4)]
            await asyncio.sleep(0.05)
        await it.workers.stop()
        assert have_ended(processes)
        if moment != "idle":
            results = await asyncio.gather(*asks, return_exceptions=True)
            assert all(isinstance(result, Exception) for result in results)


@pytest.mark.usefixtures("hasty")
async def test_forks_that_fail_are_tried_again_and_leave_the_workers_that_run(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        forkserver, "PROGRAM", UNABLE.format(failures=5).replace("{", "{{").replace("}", "}}") + forkserver.PROGRAM
    )
    async with asking(runtime) as it:
        before = forkserver_of(it)
        assert await it.segment(PHOTO, OPTIONS)
        await all_start(it, 2)
        assert (forkserver_of(it), it.deaths) == (before, [])
    assert caplog.text.count("a worker could not be started: [Errno 11] Resource temporarily unavailable") == 5


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        *long((UNABLE.format(failures=10**9), "Resource temporarily unavailable")),
        (HANGING, "no answer within"),
        (STOPPED_AT_ITS_START, "no answer within"),
        *long(("raise SystemExit\n", "the process that forks workers has ended")),
        (None, "No such file"),
    ],
    ids=["cannot fork", "hangs", "worker stopped", "ends", "no program"],
)
async def test_a_time_without_any_worker_is_a_failure(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, program: str | None, reason: str
) -> None:
    monkeypatch.setattr(workers, "START_S", 1.0)
    monkeypatch.setattr(workers, "ATTEMPT_S", 1.0 if "answer" in reason else 60.0)
    monkeypatch.setattr(workers, "RETRY_S", 0.01)
    if program is None:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
    else:
        monkeypatch.setattr(forkserver, "PROGRAM", program + forkserver.PROGRAM)
    one = Asking(runtime, 1)
    before = set(psutil.Process().children(recursive=True))
    start = asyncio.create_task(one.workers.start())
    await wait_until_async(lambda: bool(one.failures))
    assert "no worker could be started for 1 s" in one.failures[0]
    children = set(psutil.Process().children(recursive=True)) - before
    await one.workers.stop()
    await asyncio.gather(start, return_exceptions=True)
    assert have_ended(list(children))
    assert reason in one.failures[0]


async def test_an_idle_worker_that_is_stopped_costs_a_503_and_no_image_is_blamed(
    one: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.kill(one.workers.pids[0], signal.SIGSTOP)
    monkeypatch.setattr(worker_module, "PLAN_TIMEOUT_S", 0.5)
    with pytest.raises(WorkerFailed):
        await one.segment(PHOTO, OPTIONS)
    monkeypatch.undo()
    assert one.deaths == ["no_answer"]
    assert await one.segment(PHOTO, OPTIONS)


class Code:
    """Code that a worker runs when it unpickles this, in place of what an attacker would bring into a decoder."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __reduce__(self) -> tuple[object, ...]:
        return exec, (self.text,)


async def exit_code(worker: Worker, code: str) -> int | None:
    """The exit code that the code ends a worker with."""
    worker.idle = False
    worker._frames.send(pickle.dumps(Code(f"import os, signal, socket\n{code}")))
    await wait_until_async(lambda: bool(worker._frames.fault()))
    return await worker.process.wait()


TRIES = {  # with the version of Landlock that refuses it
    "reads a file": (1, "open({secret!r})"),
    "reads a folder": (1, "os.listdir({folder!r})"),
    "writes a file": (1, "open({folder!r} + '/new', 'w')"),
    "reads the parent's environment": (1, "open('/proc/{pid}/environ')"),
    "reads another worker's memory": (1, "open('/proc/{other}/mem', 'rb')"),
    "reads the memory of who forks": (1, "open('/proc/{forkserver}/mem', 'rb')"),
    "executes": (1, "os.execv('/bin/true', ['true'])"),
    "connects": (6, "socket.create_connection(('127.0.0.1', 9))"),
    "listens": (6, "socket.socket().bind(('127.0.0.1', 0))"),
    "signals the parent": (6, "os.kill({pid}, 0)"),
    "signals who forks": (6, "os.kill({forkserver}, 9)"),
}


async def test_a_worker_opens_no_file_and_no_process_nor_connects_nor_signals(it: Asking, tmp_path: Path) -> None:
    tries = {name: line for name, (version, line) in TRIES.items() if version <= landlock_version()}
    if not tries:
        pytest.skip("this system has no Landlock")
    (tmp_path / "keys").write_text(SECRET)
    for name, line in tries.items():
        await all_start(it, 2)
        async with it.workers.claim() as worker:
            (other,) = set(it.workers.pids) - {worker.process.pid}
            code = line.format(
                secret=str(tmp_path / "keys"), folder=str(tmp_path), pid=os.getpid(), other=other,
                forkserver=forkserver_of(it).pid,
            )  # fmt: skip
            text = f"try:\n    {code}\nexcept PermissionError:\n    os._exit(42)\nos._exit(43)"
            assert await exit_code(worker, text) == 42, name
        await it.segment(PHOTO, OPTIONS)  # else the next worker would come later and later


def has_only_its_socket(pid: int) -> bool:
    targets = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed by now
            targets.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    rest = [target for target in targets if not target.startswith("socket:")]
    return len(targets) - len(rest) == 1 and set(rest) <= {"/dev/null", f"/proc/{pid}/statm"}


async def test_a_worker_has_only_its_socket_and_nowhere(it: Asking) -> None:
    await all_start(it, 2)
    for pid in it.workers.pids:
        await wait_until_async(partial(has_only_its_socket, pid), f"worker {pid} has other files open")


async def test_workers_are_killed_first_gain_no_privileges_and_have_the_settings_of_the_allocator(one: Asking) -> None:
    pids = [*one.workers.pids, forkserver_of(one).pid]
    for pid in pids:
        assert "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
    scores = [int(Path(f"/proc/{pid}/oom_score").read_text()) for pid in (*one.workers.pids, os.getpid())]
    assert scores[0] > scores[1]
    environment, expected = psutil.Process(pids[0]).environ(), worker_environment(os.environ)
    assert {name: environment.get(name) for name in ALLOCATOR} == {name: expected[name] for name in ALLOCATOR}


async def test_no_key_is_in_the_environment_or_the_memory_of_a_worker_or_of_who_forks_it(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SEGMENT_API_KEYS", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "LC_SECRET", "PYTHON_TOKEN", "MALLOC_TOKEN"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setattr(sys, "argv", [*sys.argv, SECRET])
    async with asking(runtime) as it:
        await it.segment(PHOTO, OPTIONS)
        for pid in (*it.workers.pids, forkserver_of(it).pid):
            assert SECRET.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
            assert SECRET.encode() not in memory_of(pid)


def memory_of(pid: int) -> bytes:
    """All that the process can write to."""
    parts = []
    with open(f"/proc/{pid}/mem", "rb") as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, mode, *_ = line.split()
            if mode.startswith("rw"):
                start, end = (int(number, 16) for number in place.split("-"))
                memory.seek(start)
                parts.append(memory.read(end - start))
    return b"".join(parts)


def test_the_environment_of_workers_has_what_is_listed_and_the_user_s_values_win() -> None:
    variables = {
        "SEGMENT_API_KEYS": "a", "LANG": "C.UTF-8", "MALLOC_TOP_PAD_": "1", "MALLOC_ARENA_MAX": "2",
        "OPENBLAS_NUM_THREADS": "8", "http_proxy": "b",
    }  # fmt: skip
    assert worker_environment(variables) == ALLOCATOR | {
        "LANG": "C.UTF-8", "MALLOC_TOP_PAD_": "1", "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    assert set(ALLOCATOR) <= PASSED
