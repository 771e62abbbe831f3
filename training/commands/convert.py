"""`fcn-convert`: makes a weights file of a network that another program has exported to ONNX.

The network is a stranger's: a process of its own reads and runs it, with limits on memory and processor time, and may die.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import NoReturn

from model.command_line import install_command
from training.commands.command import FAILED, INTERRUPTED, run_command
from training.commands.convert_arguments import parser

CHILD = "training.commands.convert_child"
LEAST_MB, MOST = 256, 10_000_000
TERMINATED = 143  # exit status after SIGTERM (128 + 15)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = parser().parse_args(arguments)
    return run_command("fcn-convert", lambda: _check(args)) or _run_child(args, arguments)


def _check(args: argparse.Namespace) -> None:
    """Raises `ValueError` for arguments that contradict each other, and for files that exist."""
    missing = [name for name in ("onnx", "onnxruntime", "openvino", "yaml") if find_spec(name) is None]
    if missing:
        raise ValueError(f"{', '.join(missing)} is missing: {install_command('convert')}")
    if not LEAST_MB <= args.memory_mb <= MOST or not 1 <= args.cpu_seconds <= MOST:
        raise ValueError(
            f"--memory-mb must be {LEAST_MB} to {MOST} and --cpu-seconds 1 to {MOST}, got {args.memory_mb} and "
            f"{args.cpu_seconds}"
        )
    if args.photos and not args.photos.is_dir():
        raise ValueError(f"--photos must be a folder, got {args.photos}")
    if not args.out.parent.is_dir():
        raise ValueError(f"the folder {args.out.parent} is not there: make it, or give another -o")
    if args.out.exists() and args.network.exists() and args.out.samefile(args.network):
        raise ValueError(f"{args.out} is the network itself: give another -o")
    if args.out.suffix != ".onnx" or args.out.name.endswith(".int8.onnx"):
        raise ValueError(f"the file to write must end in .onnx, not in .int8.onnx, got {args.out}")
    if (args.mean is None) != (args.std is None):
        raise ValueError("--mean and --std go together: give both")
    if args.mean is None and args.scale is not None:
        raise ValueError("--scale goes with --mean and --std: give these too")
    existing = [str(path) for path in (args.out, args.out.with_suffix(".md")) if path.exists()]
    if existing and not args.force:
        raise ValueError(f"already there: {', '.join(existing)}; nothing was written; give --force to replace")


def _run_child(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    """The exit status of the process that converts. If a signal ended it, one line says so."""
    signal.signal(signal.SIGTERM, _end)
    with TemporaryDirectory() as folder:  # what the child leaves there when it dies goes with it
        environment = os.environ | {"TMPDIR": folder}
        child = subprocess.Popen([sys.executable, "-m", CHILD, *arguments], env=environment)
        try:
            status = child.wait()
        except KeyboardInterrupt:  # the child has the signal too, and says so
            child.wait()
            return INTERRUPTED
        finally:
            child.kill()
            child.wait()
    if status >= 0:
        return status
    name = signal.Signals(-status).name
    reason = {
        "SIGPROF": f"it took more than {args.cpu_seconds} s of processor time: --cpu-seconds gives it more",
        "SIGKILL": "the system ended it, as it does where memory runs out",
    }.get(name, f"{name}, as where a library fails on a damaged network or has no memory (--memory-mb {args.memory_mb})")
    print(f"fcn-convert: the process that ran the network ended: {reason}; nothing was written", file=sys.stderr)
    return FAILED


def _end(*_: object) -> NoReturn:
    raise SystemExit(TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
