"""The process of `fcn-convert` that reads and runs the network, with limits that the system keeps."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import fields

import onnxruntime  # before the limits: what libraries take for themselves is not the network's
import openvino
from google.protobuf.message import EncodeError

from model.inference.processes.confinement import IS_LINUX, end_with_parent, limit
from model.whole_file import check_output
from training.commands.command import print_lines, run_command
from training.commands.convert import parser
from training.converting.conversion import convert
from training.converting.graph import RunError
from training.converting.pixels import UNIT, Normalisation
from training.converting.request import ConversionRequest
from training.data.label_files import read_labels
from training.publishing.onnx_files import write_imported_card

LIBRARIES = (onnxruntime, openvino)


def main() -> int:
    args = parser().parse_args()
    if IS_LINUX:
        end_with_parent(os.getppid())
    return run_command("fcn-convert", lambda: _convert(args))


def _convert(args: argparse.Namespace) -> None:
    normalisation = None
    if args.mean is not None:
        scale = UNIT if args.scale is None else args.scale
        normalisation = Normalisation(args.mean, args.std, scale, args.bgr)
    stated = {field.name: getattr(args, field.name) for field in fields(ConversionRequest) if field.name in args}
    labels = read_labels(args.classes) if args.classes else None
    request = ConversionRequest(**stated, labels=labels, normalisation=normalisation)
    card_path = request.target.with_suffix(".md")
    for path in (request.target, card_path):
        check_output(path)
    limit(args.memory_mb << 20, args.cpu_seconds)
    try:
        manifest = convert(request, _tell)
    except (MemoryError, EncodeError) as error:  # protobuf says so when a message finds no memory for its bytes
        raise ValueError(
            f"the network takes more than {args.memory_mb} MB: --memory-mb allows it more, a smaller --tile needs less"
        ) from error
    except RunError as error:
        raise ValueError(f"{error}; if it needs more memory than --memory-mb {args.memory_mb}, allow it more") from error
    write_imported_card(request.target, manifest)
    print_lines([f"wrote {request.target} ({request.target.stat().st_size / 1e6:.1f} MB) and {card_path}"])


def _tell(line: str) -> None:
    """Prints a line at once, also into a pipe: what follows may take minutes."""
    print_lines([line])
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
