"""`fcn-bench`: measures the default weights on this machine and writes `benchmarks/RESULTS.md`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from tqdm import tqdm

from benchmarks.harness import results
from benchmarks.harness.load import available
from benchmarks.peers import comparison
from common.command_line import CommandParser, install_command

HERE = Path(__file__).parent
NAMES = (
    "runtimes", "served", "formats", "page", "peers", "size", "overload", "startup", "bulk", "scenes", "jobs", "gpu", "former",
    "hostile", "soak",
)  # fmt: skip
BENCHES: dict[str, ModuleType] = {
    name: comparison if name == "peers" else import_module(f"benchmarks.benches.{name}") for name in NAMES
}
"""Each has `run(quick=...)`, which gives a section of the results; and `missing()` if it cannot run everywhere."""
PACKAGES = {"bulk": ("ray", "ray"), "scenes": ("rasterio", "geo"), "jobs": ("rasterio", "geo")}
"""The package that a bench needs, and the extra that has it."""
# run only when the command line names them
BY_NAME = ("bulk", "scenes", "jobs", "page", "peers", "gpu", "soak", "hostile", "former")
# need wrk
WITH_LOAD = ("served", "peers", "size", "overload", "gpu", "former")


def parser() -> argparse.ArgumentParser:
    p = CommandParser("fcn-bench", description="Measures the default weights on this machine, and writes the results.")
    default = f"default: all but {', '.join(BY_NAME)}"
    p.add_argument("benches", nargs="*", metavar="BENCH", help=f"{', '.join(BENCHES)} ({default})")
    p.add_argument("--quick", action="store_true", help="run each bench for only a few seconds, to check that it works")
    minutes = "for soak: its duration in minutes (default: %(default)g)"
    p.add_argument("--minutes", type=float, default=BENCHES["soak"].MINUTES, help=minutes)
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
    options = {"peers": {"python": args.peers}, "former": {"former": args.former}, "soak": {"minutes": args.minutes}}
    for name in (bar := tqdm(names, unit="bench", disable=not sys.stderr.isatty())):
        bar.set_description(name)
        try:
            section = results.stamp(BENCHES[name].run(quick=args.quick, **options.get(name, {})))
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
    for name, package, extra in [(name, *PACKAGES[name]) for name in names if name in PACKAGES]:
        if not find_spec(package):
            return f"{name} needs the package {package}: {install_command(extra)}"
    checks = [check for name in names if (check := getattr(BENCHES[name], "missing", None))]
    return next((reason for check in checks if (reason := check())), None)


if __name__ == "__main__":
    sys.exit(main())
