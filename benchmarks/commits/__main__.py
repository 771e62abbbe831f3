"""`python -m benchmarks.commits --former FOLDER`: compares what users see of two commits, over HTTP and on the command line."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.commits import commands, services
from benchmarks.commits.differences import Report
from benchmarks.harness.narrow import write_narrow, write_varied
from benchmarks.harness.serving import ROOT, checkout_commit
from common.command_line import CommandParser
from model.inference.instructions import VARIABLE, VNNI

COMPARISONS = services.COMPARISONS | commands.COMPARISONS


def parser() -> argparse.ArgumentParser:
    p = CommandParser("benchmarks.commits", description="Compares what users see of this checkout and of a former commit.")
    p.add_argument("--former", metavar="FOLDER", type=Path, required=True, help="a checkout of the commit to compare with")
    p.add_argument("--only", nargs="+", choices=COMPARISONS, default=COMPARISONS, help="parts (default: all)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the report. Returns the exit status: 0 without unexpected differences, 1 with some."""
    args, report = parser().parse_args(argv), Report()
    os.environ.setdefault(VARIABLE, VNNI)  # AMX and VNNI differ in single pixels, and each commit chooses for itself
    with tempfile.TemporaryDirectory() as name:
        weights = Path(name) / "weights"
        weights.mkdir()
        write_narrow(weights / "narrow.safetensors")
        write_varied(weights / "varied.safetensors", weights / "narrow.safetensors")
        for part in args.only:
            print(part, file=sys.stderr, flush=True)
            folder = Path(name) / part
            folder.mkdir()
            COMPARISONS[part](report, (args.former.absolute(), ROOT), weights, folder)
    print(f"this checkout beside {checkout_commit(args.former)}", *report.lines(), sep="\n")
    return bool(report.unexpected())


if __name__ == "__main__":
    sys.exit(main())
