"""`--print-completion`: what shells complete."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cli.main import main

ASK = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_fcn_segment; printf "%s\\n" "${COMPREPLY[@]}"'


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as error_info:
        main(["--print-completion", "bash"])
    assert not error_info.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ph"], ["photo one.jpg", "photo2.jpg"]),
        (["-o", "mas"], ["masks"]),
        (["photo2.jpg", "-o", "masks", "--from-file", "l"], ["list.txt"]),
        (["--weights", "l"], ["list.txt"]),
        (["--mask", ""], ["rle", "png", "array", "polygons"]),
        (["photo2.jpg", "--min-c"], ["--min-confidence"]),
    ],
    ids=" ".join,
)
def test_bash_completes_files_options_and_values(words: list[str], expected: list[str], script: str, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for name in ("photo one.jpg", "photo2.jpg", "list.txt"):
        (tmp_path / name).touch()
    bash = subprocess.run(
        ["bash", "-c", f"{script}\n{ASK}", "bash", "fcn-segment", *words],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert sorted(bash.stdout.splitlines()) == sorted(expected)


def test_bash_quotes_names_of_files(script: str) -> None:
    run = subprocess.run(["bash", "-c", f"{script}\ncomplete -p fcn-segment"], capture_output=True, text=True, check=True)
    assert "-o filenames" in run.stdout
