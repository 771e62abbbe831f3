"""`fcn-bench`: measures the default weights on this machine and writes `benchmarks/RESULTS.md`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.benches import (
    bulk,
    formats,
    former,
    gpu,
    hostile,
    jobs,
    overload,
    page,
    runtimes,
    scenes,
    served,
    size,
    soak,
    startup,
)
from benchmarks.harness import results
from benchmarks.harness.load import available
from benchmarks.harness.results import Section
from benchmarks.peers import comparison
from model.command_line import CommandParser

HERE = Path(__file__).parent
BENCHES: dict[str, Callable[[argparse.Namespace], Section]] = {
    "runtimes": lambda args: runtimes.run(quick=args.quick),
    "served": lambda args: served.run(quick=args.quick),
    "formats": lambda args: formats.run(quick=args.quick),
    "page": lambda args: page.run(quick=args.quick),
    "peers": lambda args: comparison.run(quick=args.quick, python=args.peers),
    "size": lambda args: size.run(quick=args.quick),
    "overload": lambda args: overload.run(quick=args.quick),
    "startup": lambda args: startup.run(quick=args.quick),
    "bulk": lambda args: bulk.run(quick=args.quick),
    "scenes": lambda args: scenes.run(quick=args.quick),
    "jobs": lambda args: jobs.run(quick=args.quick),
    "gpu": lambda args: gpu.run(quick=args.quick),
    "former": lambda args: former.run(quick=args.quick, former=args.former),
    "hostile": lambda args: hostile.run(quick=args.quick),
    "soak": lambda args: soak.run(quick=args.quick, minutes=args.minutes),
}
# run only when the command line names them
BY_NAME = ("bulk", "scenes", "jobs", "page", "peers", "gpu", "soak", "hostile", "former")
# need wrk
WITH_LOAD = ("served", "peers", "size", "overload", "gpu", "former")


def parser() -> argparse.ArgumentParser:
    p = CommandParser("fcn-bench", description="Measures the default weights on this machine, and writes the results.")
    default = f"default: all but {', '.join(BY_NAME)}"
    p.add_argument("benches", nargs="*", metavar="BENCH", help=f"{', '.join(BENCHES)} ({default})")
    p.add_argument("--quick", action="store_true", help="run each bench for only a few seconds, to check that it works")
    p.add_argument(
        "--minutes", type=float, default=soak.MINUTES, help="for soak: its duration in minutes (default: %(default)g)"
    )
    p.add_argument("--out", type=Path, default=HERE, help="folder for RESULTS.md and results/ (default: benchmarks/)")
    p.add_argument(
        "--peers",
        metavar="PYTHON",
        help="for peers: the Python of an environment that has the frameworks; see benchmarks/peers/README.md",
    )
    p.add_argument("--former", metavar="FOLDER", type=Path, help="for former: a checkout of the commit to compare with")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 on success, 1 if a bench failed, 2 if a requested bench cannot run here."""
    args = parser().parse_args(argv)
    names = args.benches or [name for name in BENCHES if name not in BY_NAME]
    if reason := missing(names, args.peers, args.former):
        print(f"fcn-bench: {reason}", file=sys.stderr)
        return 2
    folder = args.out / "results"
    for name in (bar := tqdm(names, unit="bench", disable=not sys.stderr.isatty())):
        bar.set_description(name)
        try:
            section = results.stamp(BENCHES[name](args))
        except RuntimeError as error:
            print(f"fcn-bench: {name}: {error}", file=sys.stderr)
            return 1
        results.save(name, section, folder)
        (args.out / "RESULTS.md").write_text(results.page(list(BENCHES), folder))
        print(f"\n{section.markdown()}\n")
    return 0


def missing(names: Sequence[str], peers: str | None, former: Path | None = None) -> str | None:
    """The reason why these benches cannot run here, or None if they can.

    peers: the value of `--peers`. former: the value of `--former`.
    """
    if unknown := sorted(set(names) - set(BENCHES)):
        return f"no bench {', '.join(unknown)}; there are {', '.join(BENCHES)}"
    if set(names) & set(WITH_LOAD) and not available():
        return "wrk is not installed; `apt install wrk` or `brew install wrk`"
    if "peers" in names and not peers:
        return "peers needs --peers PYTHON, the Python of an environment with the frameworks; see benchmarks/peers/README.md"
    if peers and "peers" not in names:
        return "--peers is for the bench peers; name that, or leave it out"
    if former and "former" not in names:
        return "--former is for the bench former; name that, or leave it out"
    if "former" in names and not former:
        return "former needs --former FOLDER, a checkout of the commit to compare with (git worktree add FOLDER COMMIT)"
    checks = {"page": page.missing, "bulk": bulk.missing, "scenes": scenes.missing, "gpu": gpu.missing}
    return next((reason for name, check in checks.items() if name in names and (reason := check())), None)


if __name__ == "__main__":
    sys.exit(main())
