"""What all commands share: arguments that are wrong are told in one line, and `--version`."""

from __future__ import annotations

import argparse
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

WRONG_ARGUMENTS = 2


class CommandParser(argparse.ArgumentParser):
    """A parser with `--version` that answers wrong arguments with one line on stderr, and exit status 2.

    hint: what stands before the pointer to `--help`. distribution: whose version is told.
    """

    def __init__(self, prog: str, *, hint: str = "", distribution: str = "fcn-segment", **options: Any) -> None:
        super().__init__(prog, **options)
        self.hint = hint
        self.add_argument("--version", action="version", version=f"{prog} {package_version(distribution)}")

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_ARGUMENTS, f"{self.prog}: {one_line(message)}; {self.hint}see {self.prog} --help\n")


@cache
def package_version(name: str = "fcn-segment") -> str:
    """The installed version; `unknown` where the code runs without being installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def one_line(text: str) -> str:
    """The text with line ends, control characters and bytes that are not UTF-8 as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.strip())
