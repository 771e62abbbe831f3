"""The answers of two services are compared part by part: a checkout equals itself, and a changed copy does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.commits.__main__ import main
from benchmarks.commits.services import parts_of
from tests.support.checkout import ROOT


def test_several_answers_on_one_connection_are_taken_apart() -> None:
    answer = b"HTTP/1.1 200 OK\r\nX: a\r\nContent-Length: 2\r\n\r\nab"
    assert parts_of(answer * 2 + b"rest") == {
        "status": b"11 200 OK", "header x": b"a", "header content-length": b"2", "body": b"ab",
        "1 status": b"11 200 OK", "1 header x": b"a", "1 header content-length": b"2", "1 body": b"ab", "2 bytes": b"rest",
    }  # fmt: skip
    assert parts_of(b"") == {}


@pytest.mark.long
def test_a_checkout_equals_itself_and_a_changed_copy_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ROOT.iterdir():
        if path.name != "app":
            (tmp_path / path.name).symlink_to(path)
    shutil.copytree(ROOT / "app", tmp_path / "app")
    arguments = ["--former", str(tmp_path), "--only", "limits"]
    assert main(arguments) == 0
    errors = tmp_path / "app" / "api" / "errors.py"
    errors.write_text(errors.read_text().replace('"Upload too slow"', '"Slow"'))
    assert main(arguments) == 1
    differences = [line for line in capsys.readouterr().out.splitlines() if line.startswith("differs")]
    assert len(differences) == 4  # the length and the body of two answers
    assert all("that stall" in line for line in differences)
