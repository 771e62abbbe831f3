"""Runs the commands of the pages in the environments that the pages name: `python -m tests.support.environments [--all]`.

A virtual environment gets what a page says to install, and nothing more. There the page's commands run one after the other.
Beside it they run where everything is installed. Both must succeed and write equal files.

Environments of a chain share one virtual environment, which grows from one to the next.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from benchmarks.harness.serving import Server, free_port, start_server
from tests.support.checkout import ROOT
from tests.support.environments.page_commands import Environment, PageCommands, all_commands
from tests.support.environments.page_runs import ADDRESS, LOGICAL_LINE, PageFailure, Place, reason_to_leave_out, run_and_compare

LEAN = [Environment(frozenset(extras)) for extras in ([], ["geo"], ["convert"], ["cloud"], ["table"])]
OTHERS = [
    [
        Environment(frozenset(extras))
        for extras in (["torch"], ["train"], ["convert", "train"], ["geo", "train"], ["timm", "train"])
    ],
    [Environment(frozenset(extras)) for extras in (["ray"], ["geo", "ray"])],
    [Environment(client=frozenset(extras)) for extras in ([], ["label-studio"], ["cvat"])],
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="also the environments with PyTorch, with Ray, and of the client")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "environments")
    parser.add_argument("--pip-args", default="", help="arguments of pip")
    args = parser.parse_args()
    shutil.rmtree(args.folder, ignore_errors=True)
    commands = all_commands(ROOT)
    failures = 0
    for chain in (LEAN, *(OTHERS if args.all else ())):
        for failure in run_chain(chain, commands, args.folder, args.pip_args.split()):
            print(f"\nFAILED {failure}\n", flush=True)
            failures += 1
    print(f"{failures} failures")
    return bool(failures)


def run_chain(
    chain: Sequence[Environment], commands: Sequence[PageCommands], folder: Path, pip_args: Sequence[str]
) -> Iterator[PageFailure]:
    """Makes each environment of a chain from the one before it, and runs the commands that belong there."""
    venv = folder / f"venv-{'-'.join(sorted(chain[-1].extras)) or 'client'}"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    trial, whole = Place(folder / "pages", venv), Place(folder / "whole", Path(sys.prefix))
    for environment in chain:
        own = [each for each in commands if each.environment == environment]
        if not own:
            continue
        install(venv, environment, pip_args)
        with ExitStack() as stack:
            asks = any(ADDRESS in each.text for each in own)
            services = (whole if environment.client is not None else trial, whole)  # the client is not the service
            jobs = (folder / "jobs", folder / "whole-jobs")
            urls = tuple(stack.enter_context(served(*each)).url if asks else "" for each in zip(services, jobs, strict=True))
            yield from run_commands(own, trial, whole, urls)
    shutil.rmtree(venv)


def install(venv: Path, environment: Environment, pip_args: Sequence[str]) -> None:
    """Installs what a page names, in the versions of the checkout's constraints. Only extras that bring PyTorch may do so."""
    targets = []
    if environment.client is None:
        targets += ["-e", _with_extras(ROOT, environment.extras)]
    else:
        targets += [_with_extras(ROOT / "client", environment.client)]
    print(f"installing {' '.join(targets)}", flush=True)
    python = venv / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pip_args]
    subprocess.run([*pip, "-c", ROOT / "constraints.txt", *targets], check=True)
    has_torch = not subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode
    if has_torch != bool(environment.extras & extras_with_torch()):
        raise SystemExit(f"{environment}: PyTorch is {'' if has_torch else 'not '}there")


def extras_with_torch() -> frozenset[str]:
    """The extras that bring PyTorch, by the project's own table."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {"torch"}
    for _ in extras:
        of_own = re.compile(rf"fcn-segment\[(.*,)?({'|'.join(names)})(,.*)?\]")
        names |= {name for name, needs in extras.items() if any(map(of_own.match, needs))}
    return frozenset(names)


def _with_extras(path: Path, extras: frozenset[str]) -> str:
    return f"{path}[{','.join(sorted(extras))}]" if extras else str(path)


def served(place: Place, jobs: Path) -> AbstractContextManager[Server]:
    """The service of an environment, with its default settings, and with jobs in a folder that no other service uses."""
    port = free_port()
    variables = {"SEGMENT_PORT": str(port), "SEGMENT_LOG_LEVEL": "warning", "SEGMENT_JOBS_DIR": str(jobs)}
    return start_server([str(place.environment / "bin" / "fcn-serve")], port, "/health/ready", variables)


def run_commands(commands: Sequence[PageCommands], trial: Place, whole: Place, urls: Sequence[str]) -> Iterator[PageFailure]:
    """Runs what is not left out, and says so of what is."""
    for each in commands:
        lines = LOGICAL_LINE.findall(each.text)
        for line in lines:
            reason = reason_to_leave_out(line)
            print(f"{each.page}: {line.strip()}{f' (left out: {reason})' if reason else ''}", flush=True)
        if not all(map(reason_to_leave_out, lines)):
            try:
                run_and_compare(each, trial, whole, (urls[0], urls[1]))
            except PageFailure as failure:
                yield failure


if __name__ == "__main__":
    sys.exit(main())
