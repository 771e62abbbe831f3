"""A run of `fcn-segment` goes on past what one image raises, and ends at what every image would raise, or at a signal."""

from __future__ import annotations

import errno
import json
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from cli.main import main
from cli.report import Result
from model.inference.processes import workers
from model.inference.runtime import DeviceLost, DeviceOutOfMemory
from tests.support.checkout import ROOT, SEGMENT
from tests.support.cli.commands import command, environment
from tests.support.cli.folders import OTHER, PHOTO, Segment, files_in, outcomes_of, write_files
from tests.support.images import encode, make_photo
from tests.support.polling import HANG_S, wait_until


class Raising:
    """Raises an error for images of these names; counts its calls."""

    workers = 1

    def __init__(self, error: BaseException, *names: str) -> None:
        self.error, self.names = error, names
        self.calls = 0

    def __call__(self, data: bytes, name: str) -> Result:
        self.calls += 1
        if name in self.names:
            raise self.error
        return Result(b"mask")


def statuses_of(backend: Raising, folder: Path, count: int = 4) -> list[tuple[str, str | None]]:
    write_files(folder / "in", {f"{i}.png": PHOTO for i in range(count)})
    return [(outcome.status, outcome.problem) for outcome in outcomes_of(backend, folder / "in", folder / "out")]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no such thing"), "ValueError: no such thing"),
        (RuntimeError("two\nlines"), r"RuntimeError: two\nlines"),
        (MemoryError(), "MemoryError"),
        (DeviceOutOfMemory("no memory left for 1 tile"), "no memory left for 1 tile"),
        (OSError("the file is gone"), "the file is gone"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_whatever_an_image_raises_is_its_line(error: Exception, line: str, tmp_path: Path) -> None:
    success = ("done", None)
    assert statuses_of(Raising(error, "1.png"), tmp_path) == [success, ("failed", line), success, success]


@pytest.mark.parametrize("error", [DeviceLost("the device is lost"), OSError(errno.ENOSPC, "No space left on device")])
def test_what_every_image_would_raise_ends_the_run(error: Exception, tmp_path: Path) -> None:
    backend = Raising(error, "1.png", "2.png", "3.png")
    assert statuses_of(backend, tmp_path) == [("done", None), ("failed", str(error))]
    assert backend.calls == 2


def test_a_run_whose_workers_cannot_start_ends(
    tmp_path: Path, narrow_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers, "START_S", 0.1)
    monkeypatch.setattr(workers, "RETRY_S", 0.01)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    write_files(tmp_path / "in", {f"{i}.png": PHOTO for i in range(9)})
    assert main([str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--weights", str(narrow_file), "--device", "cpu"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("fcn-segment: no worker could be started for 0.1 s: [Errno 2] No such file")
    assert line.endswith("; 0 images were done, --resume does the rest")


def test_ctrl_c_ends_with_130_and_leaves_whole_answers_alone(tmp_path: Path, narrow_file: Path) -> None:
    photo = encode(make_photo(600, 800))
    write_files(tmp_path / "in", {f"{i}.png": photo for i in range(300)})
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(narrow_file, tmp_path / "in", "-o", out, "--side", "native"), cwd=ROOT, stderr=subprocess.PIPE
    )
    wait_until(lambda: len(list(out.glob("*.png"))) > 2)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert (process.returncode, error.count(b"\n"), b"--resume does the rest" in error) == (130, 1, True)
    answers = files_in(out)
    assert 2 < len(answers) < 300
    assert not [name for name in answers if not name.endswith(".png")]


def test_ctrl_c_does_not_wait_for_a_server_that_does_not_answer(tmp_path: Path, narrow_file: Path) -> None:
    write_files(tmp_path / "in", {f"{i}.png": PHOTO for i in range(20)})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        arguments = [sys.executable, "-c", SEGMENT, str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--server", url]
        process = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE)
        listener.settimeout(HANG_S)
        connection, _ = listener.accept()
        with connection, process:
            for _ in range(12):  # its own timeout is five minutes; Python may lose a signal in a callback of its own
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    _, error = process.communicate(timeout=20)  # a second signal while it ends would be another case
                    break
    assert (process.returncode, error.count(b"\n")) == (130, 1)


def test_a_reader_that_goes_ends_the_run_quietly(tmp_path: Path, narrow_file: Path) -> None:
    photo = encode(make_photo(600, 800))
    write_files(tmp_path / "in", {f"{i:03d}.png": photo for i in range(200)})
    arguments = command(narrow_file, tmp_path / "in", "-o", tmp_path / "out", "--json", "--side", "native")
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    assert json.loads(process.stdout.readline())["status"] == "done"
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == 141
    assert len(files_in(tmp_path / "out")) < 200


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_lines_that_cannot_be_written_are_told(
    run: Segment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path / "in", {"a.png": PHOTO, "b.jpg": OTHER})
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run(tmp_path / "in", "-o", tmp_path / "out", "--json") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left on device: 'stdout'" in line


def test_a_run_that_is_killed_leaves_no_worker(narrow_file: Path, tmp_path: Path) -> None:
    photo = encode(make_photo(600, 900))
    write_files(tmp_path / "in", {f"{i}.png": photo for i in range(40)})
    arguments = command(narrow_file, tmp_path / "in", "-o", tmp_path / "out", "--side", 900, "--format", "overlay")
    with subprocess.Popen(arguments, env=environment(), cwd=tmp_path) as process:
        wait_until(lambda: (tmp_path / "out").exists() and bool(files_in(tmp_path / "out")))
        below = psutil.Process(process.pid).children(recursive=True)
        assert len(below) > 1
        process.kill()
    wait_until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in below))


def test_a_broken_file_among_good_ones_is_named_and_the_others_are_done(
    run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"a.png": PHOTO, "b.png": PHOTO[: len(PHOTO) // 2], "c.png": b"", "d.jpg": b"hello", "e.jpg": OTHER}
    write_files(tmp_path / "in", files)
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 3
    assert files_in(tmp_path / "out") == ["a.png", "e.png"]
    lines = capsys.readouterr().err.splitlines()
    assert lines.pop() == "fcn-segment: 3 of 5 failed"
    for line, name, reason in zip(lines, ("b.png", "c.png", "d.jpg"), ("damaged", "empty", "none of PNG"), strict=True):
        assert line.startswith(f"fcn-segment: {tmp_path / 'in' / name}: ")
        assert reason in line


def test_an_image_above_the_limit_fails_with_both_numbers(
    run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path, {"photo.png": PHOTO})
    assert run(tmp_path / "photo.png", "-o", tmp_path / "mask.png", "--max-megapixels", 0.001) == 3
    assert "101x70" in (error := capsys.readouterr().err)
    assert "at most 0.001 megapixels" in error
    assert not (tmp_path / "mask.png").exists()


def test_no_answer_overwrites_its_image(run: Segment, tmp_path: Path) -> None:
    write_files(tmp_path / "in", {"photo.png": PHOTO})
    run(tmp_path / "in", "-o", tmp_path / "in")
    assert (tmp_path / "in" / "photo.png").read_bytes() == PHOTO
