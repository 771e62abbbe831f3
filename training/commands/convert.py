"""`fcn-convert`: makes a weights file of a network that another program has exported to ONNX.

The network is a stranger's: a process of its own reads and runs it, with limits on memory and processor time, and may die.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from common.command_line import CommandParser, argument_type, install_command
from common.whole_file import check_output
from model.architecture import Grid
from model.imported_network import LAYOUTS, OUTPUT_KINDS, Pad
from model.inference.processes.confinement import IS_LINUX, end_with_parent, limit
from model.inference.scaling import SIDES
from model.inference.tiling import WHOLE, parse_tile
from training.commands.command import FAILED, INTERRUPTED, add_option, print_lines, run_command
from training.data.label_files import read_labels

CHILD = "import sys; from training.commands.convert import child; sys.exit(child())"
LEAST_MB, MOST = 256, 10_000_000
TERMINATED = 143  # exit status after SIGTERM (128 + 15)
MEMORY_MB, CPU_S = 8192, 3600


def parser() -> CommandParser:
    p = CommandParser(
        "fcn-convert",
        description="Makes a weights file of a semantic segmentation network that another program has exported to ONNX. What "
        "that file does not say, nor a preprocessor_config.json, config.json, pipeline.json or deploy.yaml beside it, it asks "
        "for. It compares the converted file with the original.",
    )
    p.add_argument("source", type=Path, metavar="NET.onnx")
    out = "the file to write; its card is NAME.md"
    p.add_argument("-o", "--out", dest="target", type=Path, required=True, metavar="NAME.onnx", help=out)
    add_option(p, "--classes", str, "the classes in the order of their ids: YAML or JSON; or voc, camvid", metavar="FILE")
    add_option(p, "--license", "unknown", "the network's licence, for the card and /info")
    p.add_argument("--note", dest="notes", action="append", default=[], help="a sentence for the card; can be repeated")
    p.add_argument("--force", action="store_true", help="replace files that exist; without it, they are an error")
    layout = "the axes of the input, where the file says no number of channels: batch, channels..."
    add_option(p, "--layout", str, layout, choices=LAYOUTS)

    pixels = p.add_argument_group("pixels", "the network takes (pixel * scale - mean) / std")
    for name in ("mean", "std"):
        numbers = argument_type(_numbers("0.485,0.456,0.406"))
        pixels.add_argument(f"--{name}", type=numbers, metavar="A,B,C", help="of each channel, in the network's order")
    scale = "of pixels from 0 to 255 (default: 1/255)"
    pixels.add_argument("--scale", type=argument_type(_factor), metavar="NUMBER", help=scale)
    pixels.add_argument("--bgr", action="store_true", help="the network takes blue first")

    output = p.add_argument_group("output", "found out by running the network")
    add_option(output, "--output", str, "the output to serve, of several; or SCORES,MASKS of queries", metavar="NAME")
    add_option(output, "--kind", str, "what the output holds", choices=[kind for kind in OUTPUT_KINDS if kind != "masks"])
    grid = "where a cell of several pixels lies: on their first one, or in the middle"
    add_option(output, "--grid", str, grid, choices=get_args(Grid))
    resize = "end before the network's last resize, which the service does itself in a fraction of the memory"
    output.add_argument("--before-resize", action="store_true", help=resize)

    sizes = p.add_argument_group("sizes")
    tile = "of tiles: 512, or 384x480 (height x width); whole: each photo is one tile"
    sizes.add_argument("--tile", type=argument_type(parse_tile), metavar="SIDE", help=tile)
    pad = "what extends whole photos to sides that the network takes (default: zero)"
    sizes.add_argument("--pad", choices=get_args(Pad), help=pad)
    side = "the longer sides, in pixels, at which the network works best"
    sizes.add_argument("--side", type=argument_type(_numbers("256,1024")), metavar="LOW,HIGH", help=side)

    proof = p.add_argument_group("proof")
    add_option(proof, "--photos", Path, "photographs to compare on (default: three of the page's)", metavar="FOLDER")

    limits = p.add_argument_group("limits on the process that runs the network")
    add_option(limits, "--memory-mb", MEMORY_MB, f"default: {MEMORY_MB}")
    add_option(limits, "--cpu-seconds", CPU_S, f"of processor time (default: {CPU_S})")
    return p


def _factor(text: str) -> float:
    """A number, or a fraction such as 1/255."""
    numerator, _, denominator = text.partition("/")
    try:
        return float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"a number such as 1 or 1/255 is needed, got {text!r}") from None


def _numbers(example: str) -> Callable[[str], tuple[float, ...]]:
    """A parser of numbers with commas: as many as the example has, and whole ones if these are."""
    kind = float if "." in example else int

    def parse(text: str) -> tuple[float, ...]:
        try:
            numbers = tuple(kind(part) for part in text.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != len(example.split(",")):
            raise ValueError(f"numbers with commas are needed, such as {example}; got {text!r}")
        return numbers

    return parse


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = parser().parse_args(arguments)
    return run_command("fcn-convert", lambda: _check(args)) or _run_child(args, arguments)


def _check(args: argparse.Namespace) -> None:
    """Raises `ValueError` for arguments that contradict each other, and for files that exist."""
    missing = [name for name in ("onnx", "onnxruntime", "openvino", "yaml") if find_spec(name) is None]
    if missing:
        raise ValueError(f"{', '.join(missing)} is missing: {install_command('convert')}")
    if args.side and not SIDES[0] <= args.side[0] <= args.side[1] <= SIDES[1]:
        raise ValueError(f"--side must be two numbers from {SIDES[0]} to {SIDES[1]}, the lower one first, got {args.side}")
    if not LEAST_MB <= args.memory_mb <= MOST or not 1 <= args.cpu_seconds <= MOST:
        raise ValueError(
            f"--memory-mb must be {LEAST_MB} to {MOST} and --cpu-seconds 1 to {MOST}, got {args.memory_mb} and "
            f"{args.cpu_seconds}"
        )
    if args.pad and args.tile != WHOLE:
        raise ValueError("--pad goes with --tile whole: give both")
    if args.tile == WHOLE and not IS_LINUX:
        raise ValueError("--tile whole measures memory, which only Linux says of a process: convert the network there")
    if args.photos and not args.photos.is_dir():
        raise ValueError(f"--photos must be a folder, got {args.photos}")
    if not args.target.parent.is_dir():
        raise ValueError(f"the folder {args.target.parent} is not there: make it, or give another -o")
    if args.target.exists() and args.source.exists() and args.target.samefile(args.source):
        raise ValueError(f"{args.target} is the network itself: give another -o")
    if args.target.suffix != ".onnx" or args.target.name.endswith(".int8.onnx"):
        raise ValueError(f"the file to write must end in .onnx, not in .int8.onnx, got {args.target}")
    if (args.mean is None) != (args.std is None):
        raise ValueError("--mean and --std go together: give both")
    if args.mean is None and args.scale is not None:
        raise ValueError("--scale goes with --mean and --std: give these too")
    paths = [str(path) for path in (args.target, args.target.with_suffix(".md")) if path.exists()]
    if paths and not args.force:
        raise ValueError(f"already there: {', '.join(paths)}; nothing was written; give --force to replace")


def _run_child(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    """The exit status of the process that converts. If a signal ended it, one line says so."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    former = args.target.stat().st_ino if args.target.exists() else None
    with TemporaryDirectory() as folder:  # what the child leaves there when it dies goes with it
        environment = os.environ | {"TMPDIR": folder}
        child = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], env=environment)
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
    is_written = args.target.exists() and args.target.stat().st_ino != former  # it ended while it compared whole pictures
    outcome = f"{args.target} is written, and was not compared on all whole pictures" if is_written else "nothing was written"
    print(f"fcn-convert: the process that ran the network ended: {reason}; {outcome}", file=sys.stderr)
    return 0 if is_written else FAILED


def child() -> int:
    """The process that reads and runs the network, with limits that the system keeps; gives the exit status."""
    args = parser().parse_args()
    if IS_LINUX:
        end_with_parent(os.getppid())
    return run_command("fcn-convert", lambda: _convert(args))


def _convert(args: argparse.Namespace) -> None:
    # before the limits: what libraries take for themselves is not the network's
    from google.protobuf.message import EncodeError

    from training.converting.conversion import compare, convert
    from training.converting.graph import RunError, reason
    from training.converting.pixels import UNIT, Normalisation
    from training.converting.request import ConversionRequest
    from training.publishing.onnx_files import write_imported_card

    normalisation = None
    if args.mean is not None:
        scale = UNIT if args.scale is None else args.scale
        normalisation = Normalisation(args.mean, args.std, scale, args.bgr)
    options = {field.name: getattr(args, field.name) for field in fields(ConversionRequest) if field.name in args}
    labels = read_labels(args.classes) if args.classes else None
    request = ConversionRequest(**options, labels=labels, normalisation=normalisation)
    card_path = request.target.with_suffix(".md")
    for path in (request.target, card_path):
        check_output(path)
    limit(args.memory_mb << 20, args.cpu_seconds)
    try:
        manifest, ending = convert(request, _tell)
    except (MemoryError, EncodeError) as error:  # protobuf says so when a message finds no memory for its bytes
        raise ValueError(
            f"the network takes more than {args.memory_mb} MB: --memory-mb allows it more, a smaller --tile needs less"
        ) from error
    except RunError as error:
        raise ValueError(f"{error}; if it needs more memory than --memory-mb {args.memory_mb}, allow it more") from error
    write_imported_card(request.target, manifest)
    _tell(f"wrote {request.target} ({request.target.stat().st_size / 1e6:.1f} MB) and {card_path}")
    try:
        compare(request, ending, _tell)
    except (MemoryError, RuntimeError, ValueError) as error:
        _tell(f"        not compared on all whole pictures: {reason(error)}")


def _tell(line: str) -> None:
    """Prints a line at once, also into a pipe: what follows may take minutes."""
    print_lines([line])
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
