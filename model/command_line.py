"""The argument parser of all commands: one-line messages for wrong arguments, and `--version`."""

from __future__ import annotations

import argparse
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

WRONG_ARGUMENTS = 2  # exit status


class CommandParser(argparse.ArgumentParser):
    """A parser with `--version`. For wrong arguments it writes one line to stderr and exits with status 2.

    hint: text before the message's `see PROG --help`. distribution: the package whose version `--version` shows.
    """

    def __init__(self, prog: str, *, hint: str = "", distribution: str = "fcn-segment", **options: Any) -> None:
        super().__init__(prog, **options)
        self.hint = hint
        self.add_argument("--version", action="version", version=f"{prog} {package_version(distribution)}")

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_ARGUMENTS, f"{self.prog}: {one_line(message)}; {self.hint}see {self.prog} --help\n")


@cache
def package_version(name: str = "fcn-segment") -> str:
    """The installed version of the package; `unknown` if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def one_line(text: str) -> str:
    """The text without outer white space, with line ends, control characters and undecodable bytes written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.strip())
