"""`python -m tests.support.long_run [PART ...]`: runs the slow tests in parts, and keeps at which commit each was last green.

Without names it runs each part that is not green at this commit yet; the one that was green longest ago comes first. So a run
that was ended goes on where it was. `tests/long-run.json` is the record; it counts only what ran on a clean checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from tests.support.checkout import ROOT

RECORD = ROOT / "tests/long-run.json"
NOTHING_COLLECTED = 5  # exit status of pytest
OTHERS = (".", f":(exclude){RECORD.relative_to(ROOT)}")  # paths of git: all but the record
APART = ("app", "benchmarks")  # which measure, so their tests run one after the other


def folders() -> dict[str, list[str]]:
    """The files or the folder of each part that pytest runs; `pages` are the files of `tests` itself."""
    names = sorted(path.parent.name for path in ROOT.glob("tests/*/__init__.py") if path.parent.name != "support")
    return {"pages": sorted(map(str, ROOT.glob("tests/test_*.py")))} | {name: [f"tests/{name}"] for name in names}


def command(part: str, pip_args: str) -> list[str]:
    if part == "environments":
        return [sys.executable, "-m", "tests.support.environments", "--all", f"--pip-args={pip_args}"]
    at_once = ["-n", "0"] if part in APART else ["-n", "auto", "--dist", "worksteal"]
    return [sys.executable, "-m", "pytest", "-q", *at_once, "-m", "long", *folders()[part]]


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def is_green(entry: dict[str, str]) -> bool:
    """Whether nothing but the record has changed since the part was green."""
    return subprocess.run(["git", "diff", "--quiet", entry["commit"], "HEAD", "--", *OTHERS], cwd=ROOT).returncode == 0


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 if each part that ran is green, else 1."""
    parts = [*folders(), "environments"]
    parser = argparse.ArgumentParser(prog="tests.support.long_run", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument("--pip-args", default="", help="arguments of pip for the environments")
    args = parser.parse_args(argv)
    if unknown := sorted(set(args.parts) - set(parts)):
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(parts)}")
    record: dict[str, dict[str, str]] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    names = args.parts or [part for part in parts if part not in record or not is_green(record[part])]
    red = []
    for part in sorted(names, key=lambda part: record.get(part, {}).get("date", "")):
        start = time.monotonic()
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}
        status = subprocess.run(command(part, args.pip_args), cwd=ROOT, env=environment, check=False).returncode
        if status not in (0, NOTHING_COLLECTED):
            red.append(part)
        elif git("status", "--porcelain", "--", *OTHERS):
            print(f"{part}: green, not recorded: the checkout has changes that are not committed", flush=True)
        else:
            minutes = f"{(time.monotonic() - start) / 60:.1f}"
            record[part] = {
                "commit": git("rev-parse", "HEAD"),
                "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
                "minutes": minutes,
            }
            RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    for part in parts:
        entry = record.get(part)
        words = f"green at {entry['commit'][:12]}, {entry['date']}, {entry['minutes']} minutes" if entry else "never green"
        print(f"{part:<14}{'red now; before: ' if part in red else ''}{words}")
    return bool(red)


if __name__ == "__main__":
    sys.exit(main())
