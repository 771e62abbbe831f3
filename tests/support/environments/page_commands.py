"""Reads from the pages which commands they show, and in which environment each of them is to run.

A page names an environment by how to install it: `pip install -e '.[geo]'`. That holds for the rest of its section and for the
sections below it, until another installation is named. So the environment of a command stays the same when a page becomes a
section of another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HEADING = re.compile(r"^(#+) (.*)$")
FENCE = re.compile(r"^\s*```(\w*)$")
EXAMPLE = re.compile(r"^    ((?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?fcn-(?!bench)\S+ .*)$")
INSTALLATION = re.compile(r"pip install (?P<arguments>[^`\n]*)")
OWN_EXTRAS = re.compile(r"(?<=[ '\"])\.(?:\[([\w,-]+)\])?(?=['\"\s]|$)")
CLIENT_EXTRAS = re.compile(r"\./client(?:\[([\w,-]+)\])?")
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`((?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?fcn-(?!bench)[a-z-]+ [^`]+)`(?!`)")


@dataclass(frozen=True)
class Environment:
    """What a page says to install. extras: of the distribution; client: of the client's, None if it is not installed."""

    extras: frozenset[str] = frozenset()
    client: frozenset[str] | None = None


@dataclass(frozen=True)
class PageCommands:
    """Shell commands of a page. is_block: they are a block, all of which must succeed, not an example, which may fail."""

    page: str
    section: str
    text: str
    environment: Environment
    is_block: bool


def read_commands(page: str, text: str) -> Iterator[PageCommands]:
    """The blocks in `sh`, and our commands in sentences and indented examples, from top to bottom."""
    sections: list[tuple[int, str, Environment]] = [(0, "", Environment())]
    language, block = None, []
    for line in text.splitlines():
        if fence := FENCE.match(line):
            if language is None:
                language, block = fence[1], []
                continue
            level, title, environment = sections[-1]
            body, is_shell = "\n".join(block), language == "sh"
            language = None
            if is_shell:
                sections[-1] = level, title, installed(body, environment)
                yield PageCommands(page, title, body, sections[-1][2], is_block=True)
        elif language is not None:
            block.append(line)
        elif heading := HEADING.match(line):
            level = len(heading[1])
            while sections[-1][0] >= level:
                sections.pop()
            sections.append((level, heading[2], sections[-1][2]))
        else:
            level, title, environment = sections[-1]
            sections[-1] = level, title, installed(line, environment)
            for span in SPAN.findall(line) + EXAMPLE.findall(line):
                yield PageCommands(page, title, span, sections[-1][2], is_block=False)


def installed(text: str, environment: Environment) -> Environment:
    """The environment after the last installation that the text names; the given one if it names none."""
    for match in INSTALLATION.finditer(text):
        own, client = OWN_EXTRAS.search(match["arguments"]), CLIENT_EXTRAS.search(match["arguments"])
        if own or client:
            environment = Environment(_extras(own), _extras(client) if client else None)
    return environment


def _extras(match: re.Match[str] | None) -> frozenset[str]:
    return frozenset(match[1].split(",")) if match and match[1] else frozenset()


def all_commands(root: Path) -> list[PageCommands]:
    """The commands of the README, of all pages in `docs/`, and of the client's README."""
    paths = [root / "README.md", *sorted((root / "docs").glob("*.md")), root / "client" / "README.md"]
    return [each for path in paths for each in read_commands(path.relative_to(root).as_posix(), path.read_text())]
