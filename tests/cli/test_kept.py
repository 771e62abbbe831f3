"""What a person changed after a run wrote it, or put there, is kept and listed; `--force` replaces it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.answers import STATE
from cli.coco_file import CocoFile
from cli.places import read_whole, write_whole
from tests.support.cli.commands import command
from tests.support.cli.folders import Segment, files_in, write_files
from tests.support.images import encode, make_photo
from tests.support.polling import wait_until
from tests.support.variants import long

CORRECTED = b"corrected by a person"


def statuses(out: str) -> dict[str, str]:
    lines: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    return {line["target"]: line["status"] for line in lines}


@pytest.mark.parametrize(
    ("place", "again"),
    [
        ("out", ["--side", "64", "--shard", "0/1"]),
        ("bucket", ["--resume"]),
        *long(("out", ["--resume"]), ("bucket", ["--side", "64", "--shard", "0/1"])),
    ],
)
def test_a_corrected_mask_is_kept_and_listed_and_force_replaces_it(
    photos: Path, run: Segment, capfd: pytest.CaptureFixture[str], place: str, again: list[str], request: pytest.FixtureRequest
) -> None:
    out = place if place == "out" else f"{request.getfixturevalue('bucket')}/masks"
    assert run("in", "-o", out, "--json") == 0
    write_whole(f"{out}/sub/c.png", CORRECTED)
    capfd.readouterr()
    assert run("in", "-o", out, "--json", *again) == 0
    report = capfd.readouterr()
    others = "skipped" if again == ["--resume"] else "done"
    assert statuses(report.out) == {f"{out}/a.png": others, f"{out}/b.png": others, f"{out}/sub/c.png": "kept"}
    assert f"{out}/sub/c.png: it has changed since it was written, and is kept; --force replaces it" in report.err
    assert read_whole(f"{out}/sub/c.png")[0] == CORRECTED
    assert run("in", "-o", out, "--json", "--force", *again) == 0
    report = capfd.readouterr()
    assert statuses(report.out)[f"{out}/sub/c.png"] == "done"
    assert "kept" not in report.err
    assert read_whole(f"{out}/sub/c.png")[0] != CORRECTED
    assert run("in", "-o", out, "--resume", "--json", *again) == 0
    assert set(statuses(capfd.readouterr().out).values()) == {"skipped"}


def test_without_the_journal_answers_that_are_the_same_are_taken_over(
    photos: Path, run: Segment, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("in", "-o", "out") == 0
    shutil.rmtree(Path("out", STATE))
    Path("out/b.png").write_bytes(CORRECTED)
    capfd.readouterr()
    for status in ("done", "skipped"):
        assert run("in", "-o", "out", "--resume", "--json") == 0
        assert statuses(capfd.readouterr().out) == {"out/a.png": status, "out/b.png": "kept", "out/sub/c.png": status}
    assert Path("out/b.png").read_bytes() == CORRECTED


def test_a_copy_with_other_times_is_done(photos: Path, run: Segment, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("in", "-o", "out") == 0
    for path in Path("out").rglob("*.png"):
        os.utime(path, (10**9, 10**9))
    assert run("in", "-o", "out", "--resume") == 0
    assert "3 skipped" in capfd.readouterr().err


def test_what_a_killed_run_wrote_is_replaced_by_a_run_with_other_options(
    photos: Path, run: Segment, narrow_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for seed in range(20):
        (photos / f"many{seed:03}.png").write_bytes(encode(make_photo(64, 96, seed)))
    process = subprocess.Popen(command(narrow_file, "in", "-o", "out"))
    wait_until(lambda: process.poll() is not None or len(files_in(Path("out"))) > 4)
    process.kill()
    process.wait()
    assert run("in", "-o", "out", "--side", "64") == 0
    assert "kept" not in capfd.readouterr().err
    assert len(files_in(Path("out"))) == 23


def test_one_file_is_replaced_but_not_by_a_resumed_run(photos: Path, run: Segment, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("in/a.png", "-o", "mask.png") == 0
    mask = Path("mask.png").read_bytes()
    assert run("in/a.png", "-o", "mask.png", "--resume") == 0
    assert capfd.readouterr().err == ""
    Path("mask.png").write_bytes(CORRECTED)
    assert run("in/a.png", "-o", "mask.png", "--resume") == 0
    assert "mask.png: it is not the answer of this run" in capfd.readouterr().err
    assert Path("mask.png").read_bytes() == CORRECTED
    assert run("in/a.png", "-o", "mask.png", "--resume", "--force") == 0
    assert Path("mask.png").read_bytes() == mask
    Path("mask.png").write_bytes(CORRECTED)
    assert run("in/a.png", "-o", "mask.png") == 0
    assert Path("mask.png").read_bytes() == mask


@pytest.mark.parametrize(
    ("words", "name", "other"),
    [
        (["in", "-o", "one.json", "--format", "coco"], "one.json", b'{"images": [], "annotations": []}'),
        *long((["in/a.png", "-o", "one.json", "--format", "coco"], "one.json", b'{"images": [], "annotations": []}')),
        (["in", "-o", "out", "--results", "rows.jsonl"], "rows.jsonl", b'{"name": "Alice", "age": 3}\n'),
        (["in", "-o", "out", "--rank", "rank.txt"], "rank.txt", b"buy milk\n"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_document_that_no_run_wrote_is_kept_and_told_before_the_run(
    photos: Path, run: Segment, capfd: pytest.CaptureFixture[str], words: list[str], name: str, other: bytes
) -> None:
    Path(name).write_bytes(other)
    assert run(*words) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert f"{name} holds what this command did not write, and is kept" in line
    assert Path(name).read_bytes() == other
    assert not Path("out").exists()
    assert run(*words, "--force") == 0
    assert run(*words) == 0, "what a run wrote is replaced"


@pytest.mark.parametrize("name", [STATE, f"{STATE}/one.json", f"{STATE}/one.json/document.sha256"])
def test_a_link_in_the_place_of_the_state_is_not_followed(photos: Path, run: Segment, tmp_path: Path, name: str) -> None:
    write_files(tmp_path / "real", {"parts/x": b"", "one.json/parts/x": b""})
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).symlink_to(tmp_path / "real")
    assert run("in", "-o", "one.json", "--format", "coco") == 2
    assert sorted(path.name for path in (tmp_path / "real").rglob("*")) == ["one.json", "parts", "parts", "x", "x"]
    if name == STATE:
        assert run("in", "-o", ".") == 2


@pytest.mark.parametrize(
    ("complete", "again", "words"),
    [
        (True, ["--resume"], "one.json: it is not the answer of this run"),
        *long((False, ["--resume"], "one.json has changed since it was written, and is kept")),
        (False, [], "one.json has changed since it was written, and is kept"),
    ],
)
def test_a_coco_document_that_was_corrected_is_kept(
    photos: Path, run: Segment, capfd: pytest.CaptureFixture[str], complete: bool, again: list[str], words: str
) -> None:
    if not complete:
        (photos / "bad.png").write_bytes(b"no image")
    options, status = ["in", "-o", "one.json", "--format", "coco"], 0 if complete else 3
    assert run(*options) == status
    document = Path("one.json").read_bytes()
    assert run(*options, "--resume") == status, "it has not changed"
    Path("one.json").write_bytes(CORRECTED)
    capfd.readouterr()
    assert run(*options, *again) == 2
    assert words in capfd.readouterr().err
    assert Path("one.json").read_bytes() == CORRECTED
    assert run(*options, "--resume", "--force") == status
    assert Path("one.json").read_bytes() == document


def test_a_run_that_was_killed_is_resumed_over_the_document_that_it_would_have_replaced(
    photos: Path, run: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["in", "-o", "one.json", "--format", "coco"]
    assert run(*options) == 0
    document = Path("one.json").read_bytes()

    def end(self: CocoFile, *, complete: bool) -> None:
        raise OSError("killed")

    with monkeypatch.context() as context:
        context.setattr(CocoFile, "write", end)
        assert run(*options, "--side", "64") == 2
    assert Path("one.json").read_bytes() == document
    assert run(*options, "--side", "64", "--resume") == 0
    assert Path("one.json").read_bytes() != document
