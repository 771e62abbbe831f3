"""Every command has `--version`, and tells wrong arguments in one line."""

from __future__ import annotations

import importlib
from importlib.metadata import version

import pytest

from model.command_line import CommandParser, one_line, package_version

COMMANDS = {
    "fcn-serve": "app.main",
    "fcn-segment": "cli.arguments",
    "fcn-bulk": "cluster.arguments",
    "fcn-train": "training.commands.train_arguments",
    "fcn-evaluate": "training.commands.evaluate_arguments",
    "fcn-export": "training.commands.export",
    "fcn-bench": "benchmarks.main",
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
    with pytest.raises(SystemExit) as caught:
        parser_of(command).parse_args(arguments)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_a_line_has_no_control_characters() -> None:
    assert one_line(" a\nb\x1b[31m\udcff ") == "a\\nb\\x1b[31m\\udcff"
    assert package_version("no-such-distribution") == "unknown"
