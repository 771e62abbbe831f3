"""Which tests run which lines, and how long they take: the short tests under coverage.py, one run a folder of tests."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from functools import lru_cache
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from coverage import CoverageData

from tests.support.mutants.mutations import PACKAGES

PYTEST = [sys.executable, "-m", "pytest", "-m", "not long", "-p", "no:cacheprovider", "-o", "junit_family=xunit1"]
COVERAGE = ["-n", "auto", "--dist", "worksteal", "--cov", "--cov-context=test", "--cov-report="]
CONFIGURATION = "[run]\nbranch = true\nrelative_files = true\nsource =\n    " + "\n    ".join(PACKAGES) + "\n"


def collect(checkout: Path, folder: Path, environment: dict[str, str]) -> None:
    """Runs the parts that have no results yet. A part's `.xml` is written last, so that it stands for the whole."""
    folder.mkdir(exist_ok=True)
    (folder / "rc").write_text(CONFIGURATION)
    parts: dict[str, list[str]] = defaultdict(list)
    for path in sorted((checkout / "tests").rglob("test_*.py")):
        relative = path.relative_to(checkout)
        parts[".".join(relative.parts[:2][: len(relative.parts) - 1])].append(str(relative))
    for part, files in parts.items():
        if not (folder / f"{part}.xml").exists():
            print(f"coverage of {part}", flush=True)
            command = [*PYTEST, *COVERAGE, f"--cov-config={folder}/rc", f"--junitxml={folder}/{part}.xml", *files]
            with (folder / f"{part}.log").open("w") as log:
                place = {"COVERAGE_FILE": f"{folder}/{part}.data"}
                status = subprocess.run(command, cwd=checkout, env=environment | place, stdout=log, stderr=log).returncode
            if status not in (0, 1):  # neither passed nor failed
                (folder / f"{part}.xml").unlink(missing_ok=True)
                sys.exit(f"pytest ended with {status} before all tests of {part} had run: see {folder}/{part}.log")


def durations(*files: Path) -> dict[str, float]:
    """The seconds of each test that passed, of pytest's XML files; minus one for each that did not."""
    return {
        f"{case.get('file')}::{case.get('name')}": -1.0 if len(case) else float(case.get("time", 0))
        for file in files
        for case in ElementTree.parse(file).iter("testcase")
    }


class Coverage:
    """The coverage that `collect` left in a folder."""

    def __init__(self, folder: Path) -> None:
        self.parts = [CoverageData(str(path)) for path in sorted(folder.glob("*.data"))]
        for part in self.parts:
            part.read()
        self.seconds = durations(*sorted(folder.glob("*.xml")))
        self.tests = lru_cache(maxsize=8)(self._tests)

    def _tests(self, file: str) -> dict[int, set[str]]:
        """The tests that run each line of a file."""
        lines: dict[int, set[str]] = defaultdict(set)
        for part in self.parts:
            for line, contexts in part.contexts_by_lineno(file).items():
                lines[line].update(context.rpartition("|")[0] for context in contexts if "|" in context)
        return {line: tests for line, tests in lines.items() if tests}

    def selection(self, file: str, line: int, most: int = 40) -> list[str]:
        """The tests to run for a line: the nearest first, of each test function one before a second, the quickest."""
        functions: dict[str, list[tuple[float, str]]] = defaultdict(list)
        for test in self.tests(file)[line]:
            if self.seconds.get(test, -1) >= 0:
                functions[test.partition("[")[0]].append((self.seconds[test], test))
        ranked = [
            (distance(test[1], file), nth, *test) for tests in functions.values() for nth, test in enumerate(sorted(tests))
        ]
        return [test for *_, test in sorted(ranked)[:most]]


def distance(test: str, file: str) -> int:
    """0 for a test in the test file that mirrors a file, 1 in that folder, 2 in the tests of its package, 3 elsewhere."""
    path, place = PurePosixPath(test.partition("::")[0]), PurePosixPath(file.replace("client/src/fcn_client/", "client/"))
    if path.parent == "tests" / place.parent:
        return int(path.name != f"test_{place.name}")
    return 2 if path.parts[1] == place.parts[0] else 3
