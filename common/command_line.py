"""What all commands share: the argument parser, with one-line messages and `--version`; how to install what is missing."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shlex
import sys
from collections.abc import Callable
from functools import cache, wraps
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from common.printable import printable

Value = TypeVar("Value")
WRONG_ARGUMENTS = 2  # exit status


class ArgumentGroup(Protocol):
    """Where arguments are added: a parser, or a group of one."""

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        """Adds an argument, as `ArgumentParser.add_argument` does."""


NEGATIVE = re.compile(r"-[0-9.]+,")


class CommandParser(argparse.ArgumentParser):
    """A parser with `--version`. For wrong arguments it writes one line to stderr and exits with status 2.

    The types `int` and `float` say what they expect, as `argument_type` makes other types do.
    hint: text before the message's `see PROG --help`. distribution: the package whose version `--version` shows.
    """

    def __init__(self, prog: str, *, hint: str = "", distribution: str = "fcn-segment", **options: Any) -> None:
        super().__init__(prog, **options)
        self.hint = hint
        self.register("type", int, _number_type(int, "a whole number"))
        self.register("type", float, _number_type(float, "a number"))
        self.add_argument("--version", action="version", version=f"{prog} {package_version(distribution)}")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As of its class. Numbers that begin with a minus sign, such as `-8.1,48.2`, are no options."""
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args([f" {word}" if NEGATIVE.match(word) else word for word in words], namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_ARGUMENTS, f"{self.prog}: {one_line(message)}; {self.hint}see {self.prog} --help\n")


def flag(name: str) -> str:
    """The option of an argument's name."""
    return f"--{name.replace('_', '-')}"


def argument_type(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """The type of an argument that `parse` reads; the message of its `ValueError` becomes the command's message."""

    @wraps(parse)
    def read(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def _number_type(kind: type[Value], words: str) -> Callable[[str], Value]:
    """The type of an argument that is a number of this kind. words: for the message."""

    def read(text: str) -> Value:
        try:
            return kind(text)  # type: ignore[call-arg]
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {words}, got {text!r}") from None

    return read


@cache
def package_version(name: str = "fcn-segment") -> str:
    """The installed version of the package; `unknown` if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def settings_digest(*facts: object) -> str:
    """A digest of options and model, and of this version: a run knows by it what it wrote. The facts are compared by `repr`."""
    return hashlib.sha256(repr((facts, package_version())).encode()).hexdigest()[:16]


def install_command(extra: str) -> str:
    """The command that installs what an extra of this distribution needs, into the environment that runs.

    In a checkout it installs the checkout with the extra, elsewhere the extra's packages: no index has the distribution.
    """
    pip, root = f"{shlex.quote(_short(sys.executable))} -m pip install", Path(__file__).parents[1]
    if (root / "pyproject.toml").is_file():
        constraints = shlex.quote(_short(root / "constraints.txt"))
        return f"{pip} -c {constraints} -e {shlex.quote(f'{_short(root)}[{extra}]')}"
    return f"{pip} {' '.join(map(shlex.quote, _packages(extra)))}"


def _packages(extra: str) -> list[str]:
    """The packages of an extra, with their versions, and those of the extras that it names."""
    packages: list[str] = []
    for line in requires("fcn-segment") or []:
        package, _, marker = line.partition(";")
        if re.search(rf"extra == ['\"]{re.escape(extra)}['\"]", marker):
            own = re.fullmatch(r"fcn-segment\[(.+)\]", package.strip())
            packages += [name for part in own[1].split(",") for name in _packages(part)] if own else [package.strip()]
    return packages


def _short(path: str | Path) -> str:
    """The path as seen from the working folder if it lies below it, else whole."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def one_line(text: str) -> str:
    """The text without outer white space, as `printable` shows it."""
    return printable(text.strip())
