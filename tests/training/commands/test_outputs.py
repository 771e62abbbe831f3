"""Files that trainings, scores, exports and reports write: a full disk is one line, and a wrong place is told first."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.support.training.invocations import on_shapes
from tests.support.variants import long
from training.commands.check import main as check
from training.commands.evaluate import main as evaluate
from training.commands.export import main as export
from training.commands.train import main as train
from training.learning.checkpoint import FILE, Progress, save_checkpoint

resource = pytest.importorskip("resource", reason="no limits of processes")
Main = Callable[[list[str]], int]


@pytest.fixture
def limit() -> Iterator[Callable[[int], None]]:
    """Sets the most bytes of a file, as a disk that becomes full does: writing more is an `OSError`."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda count: resource.setrlimit(resource.RLIMIT_FSIZE, (count, former[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, former)


@pytest.mark.parametrize("most", [100, 200_000])
def test_a_checkpoint_that_does_not_fit_is_one_error_and_the_former_one_stays(
    tmp_path: Path, limit: Callable[[int], None], most: int
) -> None:
    states = {"net": {f"weight{index}": torch.ones(10_000) for index in range(20)}}
    save_checkpoint(tmp_path, Progress(1), {"net": {}}, {})
    former = (tmp_path / FILE).read_bytes()
    limit(most)
    with pytest.raises(OSError, match="File too large") as caught:
        save_checkpoint(tmp_path, Progress(2), states, {})
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / FILE))
    assert caught.value.__context__ is None or isinstance(caught.value.__context__, OSError)
    assert (tmp_path / FILE).read_bytes() == former
    assert os.listdir(tmp_path) == [FILE]


@pytest.mark.parametrize("name", ["fcn.safetensors", *long(FILE, "survey.json", "curves.csv", "metrics.jsonl")])
def test_a_training_on_a_full_disk_ends_with_one_line(
    name: str, shapes: Path, tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).symlink_to("/dev/full")
    assert train([*on_shapes(shapes, tiny_recipe, out, "--epochs", "1"), "--evaluate-every", "1"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fcn-train")]
    assert lines == [f"fcn-train: [Errno 28] No space left on device: '{out / name}'"]
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_what_cannot_be_written_is_told_before_the_work(
    arguments: list[str], shapes: Path, tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    page = tmp_path / "file" / "page"
    data = [str(shapes), "--labels", str(shapes / "classes.json")]
    commands = [(evaluate, [*arguments, "--json"]), (evaluate, [*arguments, "--pictures"]), (check, [*data, "--report"])]
    cases = [(command, [*words, str(page)], page) for command, words in commands]
    cases += [(train, on_shapes(shapes, tiny_recipe, out), out) for out in (page.parent, page, Path("/proc/none"))]
    for command, words, path in cases:
        assert command(words) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert path.name in err


def test_what_no_command_wrote_is_kept_and_told_before_the_work(
    arguments: list[str], shapes: Path, tiny_recipe: Path, narrow_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[tuple[Main, list[str], str]] = [
        (check, [str(shapes), "--labels", str(shapes / "classes.json"), "--report", str(tmp_path / "a.html")], "a.html"),
        (evaluate, [*arguments, "--json", str(tmp_path / "a.json")], "a.json"),
        (train, on_shapes(shapes, tiny_recipe, tmp_path), "fcn.md"),
        (export, ["--weights", str(narrow_file), "--hub", str(tmp_path)], "README.md"),
    ]
    for command, words, name in commands:
        (tmp_path / name).write_text("of a person")
        assert command(words) == 2
        assert f"{tmp_path / name} holds what this command did not write, and is kept" in capsys.readouterr().err
        assert (tmp_path / name).read_text() == "of a person"
    assert check([*commands[0][1][:-1], str(tmp_path / "b.html")]) == check([*commands[0][1][:-1], str(tmp_path / "b.html")])
    for _ in range(2):
        assert evaluate([*arguments, "--json", str(tmp_path / "b.json")]) == 0, "what the command wrote is replaced"
