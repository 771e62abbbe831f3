"""Every command has `--version`, and tells wrong arguments in one line."""

from __future__ import annotations

import importlib
from importlib.metadata import version

import pytest

from model.command_line import CommandParser, one_line, package_version

COMMANDS = {
    "fcn-serve": "app.main",
    "fcn-segment": "cli.arguments",
    "fcn-train": "training.commands.train_arguments",
    "fcn-evaluate": "training.commands.evaluate_arguments",
    "fcn-export": "training.commands.export",
    "python -m training.commands.coco_import": "training.commands.coco_import",
}


def parser_of(command: str) -> CommandParser:
    if command.removeprefix("fcn-") in ("train", "evaluate", "export") or "training" in command:
        pytest.importorskip("torch")
    parser: CommandParser = importlib.import_module(COMMANDS[command]).parser()
    return parser


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_tells_its_version(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parser_of(command).parse_args(["--version"])
    assert (caught.value.code, capsys.readouterr().out) == (0, f"{command} {version('fcn-segment')}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_arguments_are_told_in_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parser_of(command).parse_args(["--nonsense\n"])
    lines = capsys.readouterr().err.splitlines()
    assert (caught.value.code, len(lines)) == (2, 1)
    assert lines[0].startswith(f"{command}: ")
    assert lines[0].endswith(f"see {command} --help")


def test_a_line_has_no_control_characters() -> None:
    assert one_line(" a\nb\x1b[31m\udcff ") == "a\\nb\\x1b[31m\\udcff"
    assert package_version("no-such-distribution") == "unknown"
