"""`fcn-convert`: makes a weights file of a network that another program has exported to ONNX.

The network is a stranger's: a process of its own reads and runs it, with limits on memory and processor time, and may die.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from model.command_line import CommandParser, argument_type, install_command
from model.imported_network import LAYOUTS, OUTPUT_KINDS
from model.inference.scaling import SIDES
from model.inference.tiling import parse_tile
from training.commands.command import FAILED, INTERRUPTED, run_command

CHILD = "training.commands.convert_child"
LEAST_MB, MOST = 256, 10_000_000
TERMINATED = 143  # exit status after SIGTERM (128 + 15)
GRIDS = ("corner", "half_pixel")
MEMORY_MB, CPU_S = 8192, 3600
MOST_SIDE = SIDES[1]


def parser() -> CommandParser:
    p = CommandParser(
        "fcn-convert",
        description="Makes a weights file of a semantic segmentation network that another program has exported to ONNX. What "
        "that file does not say, nor a preprocessor_config.json, config.json, pipeline.json or deploy.yaml beside it, it asks "
        "for. It compares the converted file with the original.",
    )
    p.add_argument("network", type=Path, metavar="NET.onnx")
    p.add_argument("-o", "--out", type=Path, required=True, metavar="NAME.onnx", help="the file to write; its card is NAME.md")
    p.add_argument("--classes", metavar="FILE", help="the classes in the order of their ids: YAML or JSON; or voc, camvid")
    p.add_argument("--license", default="unknown", help="the network's licence, for the card and /info")
    p.add_argument("--note", action="append", default=[], help="a sentence for the card; can be repeated")
    p.add_argument("--force", action="store_true", help="replace files that exist; without it, they are an error")
    p.add_argument(
        "--layout", choices=LAYOUTS, help="the axes of the input, where the file says no number of channels: batch, channels..."
    )
    pixels = p.add_argument_group("pixels", "the network takes (pixel * scale - mean) / std")
    pixels.add_argument("--mean", type=argument_type(_triple), metavar="A,B,C", help="of each channel, in the network's order")
    pixels.add_argument("--std", type=argument_type(_triple), metavar="A,B,C", help="of each channel, in the network's order")
    pixels.add_argument(
        "--scale", type=argument_type(_factor), metavar="NUMBER", help="of pixels from 0 to 255 (default: 1/255)"
    )
    pixels.add_argument("--bgr", action="store_true", help="the network takes blue first")
    output = p.add_argument_group("output", "found out by running the network")
    output.add_argument("--output", metavar="NAME", help="the output to serve, of several")
    output.add_argument("--kind", choices=OUTPUT_KINDS, help="what the output holds")
    output.add_argument(
        "--grid", choices=GRIDS, help="where a cell of several pixels lies: on their first one, or in the middle"
    )
    output.add_argument(
        "--before-resize",
        action="store_true",
        help="end before the network's last resize, which the service does itself in a fraction of the memory",
    )
    sizes = p.add_argument_group("sizes")
    sizes.add_argument("--tile", type=argument_type(_tile), metavar="SIDE", help="of tiles: 512, or 384x480 (height x width)")
    sizes.add_argument(
        "--side",
        type=argument_type(_side),
        metavar="LOW,HIGH",
        help="the longer sides, in pixels, at which the network works best",
    )
    proof = p.add_argument_group("proof")
    proof.add_argument("--photos", type=Path, metavar="FOLDER", help="photographs to compare on (default: three of the page's)")
    limits = p.add_argument_group("limits on the process that runs the network")
    limits.add_argument("--memory-mb", type=int, default=MEMORY_MB, help=f"default: {MEMORY_MB}")
    limits.add_argument("--cpu-seconds", type=int, default=CPU_S, help=f"of processor time (default: {CPU_S})")
    return p


def _triple(text: str) -> tuple[float, float, float]:
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"three numbers with commas are needed, such as 0.485,0.456,0.406; got {text!r}") from None
    return first, second, third


def _factor(text: str) -> float:
    """A number, or a fraction such as 1/255."""
    numerator, _, denominator = text.partition("/")
    try:
        return float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError):
        raise ArgumentTypeError(f"a number such as 1 or 1/255 is needed, got {text!r}") from None


def _tile(text: str) -> tuple[int, int]:
    tile = parse_tile(text)
    if tile is None:
        raise ArgumentTypeError(f"a side such as 512 or 384x480 is needed, got {text!r}")
    return tile


def _side(text: str) -> tuple[int, int]:
    parts = text.split(",")
    if (
        not all(part.strip().isdecimal() for part in parts)
        or len(parts) != 2
        or not 32 <= int(parts[0]) <= int(parts[1]) <= MOST_SIDE
    ):
        raise ArgumentTypeError(
            f"two numbers from 32 to {MOST_SIDE} are needed, the lower one first, such as 256,1024; got {text!r}"
        )
    return int(parts[0]), int(parts[1])


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
