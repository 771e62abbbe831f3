"""Every command has `--version`, and tells wrong arguments in one line."""

from __future__ import annotations

import re
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from common import command_line
from common.command_line import install_command, one_line, package_version, settings_digest
from tests.support.checkout import ROOT
from tests.support.commands import COMMANDS, parser_of


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_tells_its_version(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as info:
        parser_of(command).parse_args(["--version"])
    assert (info.value.code, capsys.readouterr().out) == (0, f"{command} {version('fcn-segment')}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_arguments_are_told_in_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as info:
        parser_of(command).parse_args(["--nonsense\n"])
    lines = capsys.readouterr().err.splitlines()
    assert (info.value.code, len(lines)) == (2, 1)
    assert lines[0].startswith(f"{command}: ")
    assert lines[0].endswith(f"see {command} --help")


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("fcn-evaluate", ["--data", "x", "--tile", "33"], "--tile: tile must be a multiple of 32, got 33"),
        ("fcn-evaluate", ["--data", "x", "--overlap", "half"], "--overlap: must be a number, got 'half'"),
        ("fcn-train", ["--epochs", "ten"], "--epochs: must be a whole number, got 'ten'"),
        ("fcn-segment", ["a.jpg", "-o", "b", "--side", "31"], "--side: side must be auto, native or 32 to 16384, got '31'"),
    ],
)
def test_a_value_of_the_wrong_type_says_what_was_expected(
    command: str, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as info:
        parser_of(command).parse_args(arguments)
    assert info.value.code == 2
    assert words in capsys.readouterr().err


def test_a_line_has_no_control_characters() -> None:
    assert one_line(" a\nb\x1b[31m\udcff ") == "a\\nb\\x1b[31m\\udcff"
    assert package_version("no-such-distribution") == "unknown"


def test_what_is_missing_is_installed_in_a_checkout_by_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    command = shlex.split(install_command("train"))
    assert command[1:] == ["-m", "pip", "install", "-c", "constraints.txt", "-e", ".[train]"]
    assert Path(command[0]).samefile(sys.executable)


def test_what_is_missing_is_installed_elsewhere_from_an_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command_line, "__file__", str(tmp_path / "model" / "command_line.py"))
    packages = [re.match(r"[\w-]+(\[\w+\])?", word) for word in shlex.split(install_command("ray"))[4:]]
    assert {package[0] for package in packages if package} == {"obstore", "pyarrow", "ray[data]"}
    assert "torch" in install_command("train")  # of the extra `torch`, which that extra names
    assert "fcn-segment" not in install_command("train")


def test_settings_differ_by_each_fact() -> None:
    assert settings_digest("a", 1) == settings_digest("a", 1)
    assert len({settings_digest("a", 1), settings_digest("a", 2), settings_digest("b", 1), settings_digest("a")}) == 4
