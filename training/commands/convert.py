"""`fcn-convert`: makes a weights file of a network that another program has exported to ONNX.

The network is a stranger's: a process of its own reads and runs it, with limits on memory and processor time, and may die.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from model.command_line import install_command
from training.commands.command import FAILED, INTERRUPTED, run_command
from training.commands.convert_arguments import parser

CHILD = "training.commands.convert_child"


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = parser().parse_args(arguments)
    return run_command("fcn-convert", lambda: _check(args)) or _run_child(args, arguments)


def _check(args: argparse.Namespace) -> None:
    """Raises `ValueError` for arguments that contradict each other, and for files that exist."""
    missing = [name for name in ("onnx", "onnxruntime", "openvino", "yaml") if find_spec(name) is None]
    if missing:
        raise ValueError(f"{', '.join(missing)} is missing: {install_command('convert')}")
    if args.memory_mb < 1 or args.cpu_seconds < 1:
        raise ValueError(f"--memory-mb and --cpu-seconds must be at least 1, got {args.memory_mb} and {args.cpu_seconds}")
    if args.out.suffix != ".onnx" or args.out.name.endswith(".int8.onnx"):
        raise ValueError(f"the file to write must end in .onnx, not in .int8.onnx, got {args.out}")
    if (args.mean is None) != (args.std is None):
        raise ValueError("--mean and --std go together: give both")
    if args.mean is None and (args.scale is not None or args.bgr):
        raise ValueError("--scale and --bgr go with --mean and --std: give these too")
    existing = [str(path) for path in (args.out, args.out.with_suffix(".md")) if path.exists()]
    if existing and not args.force:
        raise ValueError(f"already there: {', '.join(existing)}; nothing was written; give --force to replace")


def _run_child(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    """The exit status of the process that converts. If a signal ended it, one line says so."""
    child = subprocess.Popen([sys.executable, "-m", CHILD, *arguments])
    try:
        status = child.wait()
    except KeyboardInterrupt:  # the child has the signal too, and says so
        child.wait()
        return INTERRUPTED
    if status >= 0:
        return status
    name = signal.Signals(-status).name
    reason = {
        "SIGPROF": f"it took more than {args.cpu_seconds} s of processor time: --cpu-seconds gives it more",
        "SIGKILL": "the system ended it, as it does where memory runs out",
    }.get(name, f"{name}, as where a library fails on a damaged network or has no memory (--memory-mb {args.memory_mb})")
    print(f"fcn-convert: the process that ran the network ended: {reason}; nothing was written", file=sys.stderr)
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
