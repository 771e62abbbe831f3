"""`python -m benchmarks.commits --former FOLDER`: compares what users see of two commits, over HTTP and on the command line."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.commits import commands, services
from benchmarks.commits.differences import Report
from benchmarks.harness.serving import ROOT, checkout_commit
from model.command_line import CommandParser
from model.weights_file import DEFAULT_WEIGHTS

COMPARISONS = services.COMPARISONS | commands.COMPARISONS


def parser() -> argparse.ArgumentParser:
    p = CommandParser("benchmarks.commits", description="Compares what users see of this checkout and of a former commit.")
    p.add_argument("--former", metavar="FOLDER", type=Path, required=True, help="a checkout of the commit to compare with")
    p.add_argument("--only", nargs="+", choices=COMPARISONS, metavar="PART", help=f"of {', '.join(COMPARISONS)} (default: all)")
    return p


def main(argv: Sequence[str] | None = None, report: Report | None = None) -> int:
    """Prints the report. Returns the exit status: 0 without unexpected differences, 1 with some."""
    from benchmarks.harness.narrow import write_narrow, write_varied  # needs PyTorch

    args, report = parser().parse_args(argv), report or Report()
    with tempfile.TemporaryDirectory() as name:
        folder, default = Path(name), str(ROOT / "weights" / f"{DEFAULT_WEIGHTS}.safetensors")
        weights = [folder / "weights" / "varied.safetensors", folder / "weights" / "narrow.safetensors"]
        (folder / "weights").mkdir()
        for write, path in zip((write_varied, write_narrow), weights, strict=True):
            write(path)
        for part in (bar := tqdm(args.only or COMPARISONS, unit="part", disable=not sys.stderr.isatty())):
            bar.set_description(part)
            COMPARISONS[part](report, (args.former.absolute(), ROOT), ",".join(map(str, weights)), default, folder=folder)
    print(f"this checkout beside {checkout_commit(args.former)}")
    print(*report.lines(), sep="\n")
    return bool(report.unexpected())


if __name__ == "__main__":
    sys.exit(main())
