"""All commands of the distribution, and the modules of their parsers."""

from __future__ import annotations

import importlib

import pytest

from common.command_line import CommandParser

COMMANDS = {
    "fcn-serve": "app.main",
    "fcn-segment": "cli.arguments",
    "fcn-bulk": "cluster.bulk",
    "fcn-train": "training.commands.train_arguments",
    "fcn-evaluate": "training.commands.evaluate_arguments",
    "fcn-export": "training.commands.export",
    "fcn-bench": "benchmarks.main",
    "fcn-check": "training.commands.check",
    "fcn-convert": "training.commands.convert",
    "fcn-import": "training.commands.import_labels",
}


def parser_of(command: str) -> CommandParser:
    """The command's parser; skips the test where PyTorch is missing that its module needs."""
    if "training" in COMMANDS[command]:
        pytest.importorskip("torch")
    parser: CommandParser = importlib.import_module(COMMANDS[command]).parser()
    return parser
