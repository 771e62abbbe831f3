"""`--print-completion`: scripts that complete the command's options and file names in a shell."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import shtab

from cli.report import write_stdout

FILE = shtab.FILE
"""What an argument's `complete` is if it names a file."""


def add_completion(p: argparse.ArgumentParser) -> None:
    """Adds `--print-completion SHELL`, which prints the script for this parser and ends the command."""
    p.add_argument(
        "--print-completion", action=_Print, choices=shtab.SUPPORTED_SHELLS, metavar="SHELL",
        help=f"print the completion script of a shell: {', '.join(shtab.SUPPORTED_SHELLS)}",
    )  # fmt: skip


class _Print(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: str | Sequence[Any] | None, *_: Any
    ) -> None:
        script = shtab.complete(parser, str(values))
        if values == "bash":
            # shtab does not say that its words are file names: bash would not quote spaces, nor end folders with /
            script = script.replace("complete -o bashdefault -F", "complete -o bashdefault -o filenames -F")
        write_stdout(f"{script}\n".encode())
        parser.exit()
