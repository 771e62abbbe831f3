"""Runs mutants against tests, and prints which ones survive; `tests/support/mutants/__init__.py` says how."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.support.checkout import ROOT
from tests.support.mutants.covering import PYTEST, Coverage, collect, distance, durations
from tests.support.mutants.mutations import Mutant, draw, mutants, mutate, product_files

Record = dict[str, Any]
LEAST_S, FACTOR = 90, 4  # how long pytest may take to start, and a mutant in times of the same tests without it
ALL_S = 1200  # as long as pytest lets one test run
TIMED_OUT = (124, 137)  # the status of the command `timeout`, and when it has to kill
OUTCOMES = ("killed", "timed out", "survived", "untested", "gone")


class Checkout:
    """A worktree of a commit in a folder, where mutants are run. Nothing else may use it."""

    def __init__(self, folder: Path, commit: str) -> None:
        self.folder, self.root = folder, folder / "checkout"
        if not self.root.exists():
            subprocess.run(["git", "worktree", "add", "--quiet", "--detach", self.root, commit], cwd=ROOT, check=True)
            (self.root / ".venv").symlink_to(sys.prefix)
        if self.git("rev-parse", "HEAD") != self.git("rev-parse", f"{commit}^{{commit}}"):
            sys.exit(
                f"{self.root} is of another commit than {commit}: name its commit with --commit, or another folder with --out"
            )
        path = f"{self.root}{os.pathsep}{self.root / 'client' / 'src'}"
        self.environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}

    def git(self, *arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=self.root, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    @cached_property
    def tests(self) -> set[str]:
        """All short tests of the commit."""
        command = [*PYTEST, "-q", "--collect-only", "tests"]
        result = subprocess.run(command, cwd=self.root, env=self.environment, check=True, stdout=subprocess.PIPE, text=True)
        return {line for line in result.stdout.splitlines() if "::" in line}

    def run(self, tests: list[str], limit: float) -> tuple[str, str]:
        """Whether tests pass (`survived`), fail (`killed`, and by which) or take more than `limit` seconds (`timed out`)."""
        xml = self.folder / "run.xml"
        xml.unlink(missing_ok=True)
        # an interrupt comes first, so that fixtures end their services
        command = ["timeout", "--signal=INT", "--kill-after=60", f"{limit:.0f}", *PYTEST, "-x", "-q", "-n", "0"]
        command += [f"--junitxml={xml}", f"--basetemp={self.folder / 'tmp'}", *tests]
        with (self.folder / "run.log").open("w") as log:
            status = subprocess.run(command, cwd=self.root, env=self.environment, stdout=log, stderr=log).returncode
        if status in TIMED_OUT:
            return "timed out", ""
        failures = [test for test, seconds in durations(xml).items() if seconds < 0] if status and xml.exists() else []
        return "killed" if status else "survived", failures[-1] if failures else ""

    def judge(self, mutant: Mutant, tests: list[str], limit: float) -> Record:
        """The outcome of a mutant. A test that fails with it is run without it: if it fails again, it is left out as flaky."""
        start, flaky, outcome, killer = time.monotonic(), list[str](), "untested", ""
        file, number, text = mutate(mutant, self.root) or (mutant.file, 1, "")
        while text and tests:
            (self.root / file).write_text(text)
            outcome, killer = self.run(tests, limit)
            self.git("checkout", "--quiet", "--", ".")
            if outcome != "killed" or self.run([killer] if killer else tests, limit)[0] == "survived":
                break
            flaky.append(killer or "a process that ended early")
            tests = [test for test in tests if killer and test != killer]
            outcome, killer = "untested", ""
        record = asdict(mutant) | {"outcome": outcome if text else "gone", "place": f"{file}:{number}", "killer": killer}
        record |= {"change": [*text.splitlines(), ""][number - 1].strip(), "tests": tests, "limit": limit, "flaky": flaky}
        return record | {"took": round(time.monotonic() - start)}


def baseline(checkout: Checkout, out: Path, count: int, seed: int) -> list[tuple[Mutant, list[str], float]]:
    """The mutants that are drawn, with the tests that run their lines and a time limit."""
    collect(checkout.root, out / "coverage", checkout.environment)
    coverage, jobs = Coverage(out / "coverage"), []
    lines = {file: coverage.tests(file).keys() for file in product_files(checkout.root)}
    for mutant in draw(checkout.root, lines, count, seed):
        found = mutants(mutant.file, (checkout.root / mutant.file).read_text())
        tests = coverage.selection(mutant.file, next(number for other, number, _ in found if other == mutant))
        jobs.append((mutant, tests, LEAST_S + FACTOR * sum(coverage.seconds[test] for test in tests)))
    return jobs


def later(checkout: Checkout, before: list[Record]) -> list[tuple[Mutant, list[str], float]]:
    """The mutants that were killed, with what is left of their tests, the killer first, and the tests of the mirror folder."""
    jobs = []
    for record in before:
        if record["outcome"] in ("killed", "timed out"):
            mutant = mutant_of(record)
            file, *_ = mutate(mutant, checkout.root) or (mutant.file,)
            near = sorted((distance(test, file), test) for test in checkout.tests if distance(test, file) < 2)
            tests = dict.fromkeys([record["killer"], *record["tests"], *(test for _, test in near)])
            jobs.append((mutant, [test for test in tests if test in checkout.tests], record["limit"] + ALL_S))
    return jobs


def table(records: list[Record], before: list[Record]) -> None:
    """Prints the outcomes of each folder, and the mutants that no test found."""
    counts = Counter((folder, each["outcome"]) for each in records for folder in (str(Path(each["file"]).parent), "all"))
    for folder in ["", *sorted({folder for folder, _ in counts})]:
        print(f"{folder:36}" + "".join(f"{counts[folder, name] if folder else name:>10}" for name in OUTCOMES))
    killers = {mutant_of(each): each["killer"] or each["outcome"] for each in before}
    for each in sorted(records, key=lambda each: OUTCOMES.index(each["outcome"])):
        if each["outcome"] in ("survived", "untested", "gone"):
            print(f"\n{each['outcome']}: {each['place']} {each['function']}, {each['operator']}")
            print(f"  - {each['line']}\n  + {each['change']}")
            if mutant_of(each) in killers:
                print(f"  before: {killers[mutant_of(each)]}")
    flaky = sorted({test for each in records for test in each["flaky"]})
    print("\nfailed without a mutant, too:", ", ".join(flaky) or "no test")


def read(path: Path | None) -> list[Record]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path and path.exists() else []


def mutant_of(record: Record) -> Mutant:
    return Mutant(**{field.name: record[field.name] for field in fields(Mutant)})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.mutants", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of a commit's checkout, coverage and results")
    parser.add_argument("--commit", default="HEAD", help="the commit whose product and tests are run (default: HEAD)")
    parser.add_argument("--against", type=Path, metavar="FILE", help="results.jsonl of an earlier commit: its killed mutants")
    parser.add_argument("--count", type=int, default=150, help="how many mutants are drawn (default: 150)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the draw (default: 0)")
    parser.add_argument("--table", action="store_true", help="prints what is known so far, and runs nothing")
    arguments = parser.parse_args()
    out: Path = arguments.out.absolute()
    results, before = out / "results.jsonl", read(arguments.against)
    if not arguments.table:
        out.mkdir(parents=True, exist_ok=True)
        checkout = Checkout(out, arguments.commit)
        checkout.git("checkout", "--quiet", "--", ".")
        jobs = later(checkout, before) if before else baseline(checkout, out, arguments.count, arguments.seed)
        done = {mutant_of(record) for record in read(results)}
        for number, (mutant, tests, limit) in enumerate(jobs, 1):
            if mutant not in done:
                record = checkout.judge(mutant, tests, limit)
                with results.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                print(
                    f"{number}/{len(jobs)} {record['outcome']} in {record['took']} s: {record['place']}: {record['change']}",
                    flush=True,
                )
    table(read(results), before)


if __name__ == "__main__":
    main()
