"""Outputs that are links, pipes, devices and open descriptors, and those that cannot be written: known before the run."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.cli.commands import command
from tests.support.cli.folders import PHOTO, Segment, write_files
from tests.support.variants import long

OPTIONS = {
    "-o": ["in/a.png", "-o", "{}.png"],
    "--rank": ["in", "-o", "out", "--rank", "{}"],
    "--results": ["in", "-o", "out", "--results", "{}.jsonl"],
    "coco": ["in", "-o", "{}.json", "--format", "coco"],
}


def arguments(option: str, name: str) -> tuple[list[str], Path]:
    words = [word.format(name) for word in OPTIONS[option]]
    return words, Path(next(word for word, template in zip(words, OPTIONS[option], strict=True) if "{}" in template))


@pytest.mark.parametrize("option", OPTIONS)
def test_a_link_stays_and_its_file_gets_the_output(photos: Path, run: Segment, option: str) -> None:
    words, target = arguments(option, "link")
    Path("real").mkdir()
    real = Path("real", "file")
    real.write_bytes(b"former")
    real.chmod(0o640)
    target.symlink_to(real)
    assert run(*words, "--force") == 0
    assert target.is_symlink()
    assert real.read_bytes() not in (b"former", b"")
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert os.listdir("real") == ["file"]


@pytest.fixture
def piped() -> Iterator[None]:
    """A photo comes through the pipe of the descriptor of stdin."""
    stdin, (reader, writer) = os.dup(0), os.pipe()
    os.write(writer, PHOTO)
    os.dup2(reader, 0)
    for descriptor in (reader, writer):
        os.close(descriptor)
    yield
    os.dup2(stdin, 0)
    os.close(stdin)


@pytest.mark.usefixtures("piped")
def test_stdin_by_its_path(photos: Path, run: Segment) -> None:
    assert run("/dev/stdin", "-o", "mask.png") == 0
    mask = Path("mask.png").read_bytes()
    assert run("in/a.png", "-o", "of-file.png") == 0
    assert Path("of-file.png").read_bytes() == mask


def test_pipes_sockets_and_kernel_files_among_inputs_are_problems(
    photos: Path, run: Segment, capfd: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo("in/pipe.png")
    Path("in/linked.png").symlink_to("pipe.png")
    Path("in/zero.png").symlink_to("/dev/zero")
    Path("in/kernel.png").symlink_to("/proc/kmsg")
    Path("in/broken.png").symlink_to("nowhere.png")
    Path("in/circle.png").symlink_to("circle.png")
    names = [*sorted(str(path) for path in Path("in").iterdir()), ""]
    Path("list").write_text("\n".join(names))
    for words, folder in ([["in"], "one"], [["in/*.png"], "two"], [["--from-file", "list"], "three"]):
        assert run(*words, "-o", folder) == 3
        err = capfd.readouterr().err
        assert all(f"in/{name}.png: " in err for name in ("pipe", "linked", "zero", "kernel", "broken", "circle"))
        assert any(path.name == "a.png" for path in Path(folder).rglob("*.png"))
    for name in ("pipe", "zero"):
        assert run(f"in/{name}.png", "-o", "mask.png") == 2
        assert "is a pipe, a socket or a device; - reads stdin" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "stream", "status", "message"),
    [
        (["{photo}", "-o", "-"], 1, 3, "stdout is closed"),
        *long(
            (["{photo}", "-o", "{out}", "--json"], 1, 2, "stdout is closed"),
            (["-", "-o", "{out}"], 0, 3, "stdin: it is closed"),
        ),
    ],
)
def test_closed_streams_are_told(
    arguments: list[str], stream: int, status: int, message: str, narrow_file: Path, tmp_path: Path
) -> None:
    write_files(tmp_path, {"photo.png": PHOTO})
    photo_arguments = [each.format(photo=tmp_path / "photo.png", out=tmp_path / "mask.png") for each in arguments]
    program = f"import os, sys; os.close({stream}); os.execv(sys.executable, sys.argv[1:])"
    words = [sys.executable, "-c", program, *command(narrow_file, *photo_arguments)]
    run = subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr.count("\n")) == (status, 1)
    assert message in run.stderr
    assert not (tmp_path / "mask.png").exists()
