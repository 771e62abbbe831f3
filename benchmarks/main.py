"""`fcn-bench`: measures the default weights on this machine, and writes `benchmarks/RESULTS.md`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks import (
    backends,
    codecs,
    compared,
    corridor,
    crossing,
    gpu,
    growth,
    mixed,
    neighbour,
    overload,
    results,
    served,
    startup,
)
from benchmarks.load import available
from benchmarks.results import Section
from model.cores import available_cores

HERE = Path(__file__).parent
BENCHES: dict[str, Callable[[argparse.Namespace], Section | None]] = {
    "corridor": lambda args: corridor.run(quick=args.quick, charts=args.out / "results"),
    "backends": lambda args: backends.run(quick=args.quick, python=args.peers),
    "codecs": lambda args: codecs.run(quick=args.quick),
    "served": lambda args: served.run(quick=args.quick),
    "peers": lambda args: compared.run(quick=args.quick, python=args.peers),
    "lent": lambda args: compared.run_lent(quick=args.quick, python=args.peers),
    "mixed": lambda args: mixed.run(quick=args.quick),
    "crossing": lambda args: crossing.run(quick=args.quick),
    "growth": lambda args: growth.run(quick=args.quick, charts=args.out / "results"),
    "overload": lambda args: overload.run(quick=args.quick),
    "neighbour": lambda args: neighbour.run(quick=args.quick),
    "gpu": lambda args: gpu.run(quick=args.quick),
    "startup": lambda args: startup.run(quick=args.quick),
}
WITH_LOAD = ("served", "peers", "lent", "mixed", "crossing", "overload", "neighbour")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser("fcn-bench", description="Measures the default weights on this machine.")
    p.add_argument("benches", nargs="*", metavar="BENCH", help=f"{', '.join(BENCHES)} (default: all)")
    p.add_argument("--quick", action="store_true", help="a few seconds each: shows that the harness works")
    p.add_argument("--out", type=Path, default=HERE, help="folder of RESULTS.md and of results/ (default: benchmarks/)")
    p.add_argument("--peers", default=sys.executable, help="Python of the environment where the peers are installed")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 2 for a bench that there is none of, or without the load generator."""
    args = parser().parse_args(argv)
    chosen = args.benches or list(BENCHES)
    if unknown := set(chosen) - set(BENCHES):
        print(f"fcn-bench: no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    if not available() and set(chosen) & set(WITH_LOAD):
        print("fcn-bench: wrk is not installed; `apt install wrk` or `brew install wrk`", file=sys.stderr)
        return 2
    torch.set_num_threads(available_cores())
    folder = args.out / "results"
    for name in (bar := tqdm(chosen, unit="bench")):
        bar.set_description(name)
        if section := BENCHES[name](args):
            results.save(name, results.here(section), folder)
            (args.out / "RESULTS.md").write_text(results.page(list(BENCHES), folder))
    print((args.out / "RESULTS.md").read_text())
    return 0
