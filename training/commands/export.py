"""`fcn-export`: exports a master for other runtimes, as float32 ONNX and as int8 by post-training quantisation.

Only the float32 export of a master needs PyTorch, and imports it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from common.command_line import CommandParser
from common.whole_file import begins_with, check_output
from model.inference.runtimes.openvino_runtime import read_export
from model.manifest import WeightsError
from model.weights_file import DEFAULT_WEIGHTS, find_weights, load_weights
from training.commands.command import add_option, check_companions, run_command
from training.publishing.card import write_hub_folder
from training.publishing.card_sections import CARD
from training.publishing.onnx_files import export_path, read_imported
from training.publishing.other_programs import SUFFIXES, program_paths, write_programs
from training.publishing.quantisation import MOST_PHOTOS, export_int8


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = CommandParser(
        "fcn-export",
        description="Writes the exports of a weights file beside it: NAME.onnx, and with --int8 also NAME.int8.onnx.",
    )
    weights = f"a weights file (.safetensors), or a name in weights/ (default: {DEFAULT_WEIGHTS})"
    add_option(p, "--weights", DEFAULT_WEIGHTS, weights)
    p.add_argument("--int8", action="store_true", help="also write an int8 export; needs --calibration")
    calibration = (
        "with --int8: photos like those that the service will get, none of them of val, to measure the ranges of int8 on; "
        "--calibrate of fcn-evaluate is something else: a temperature for the confidence"
    )
    add_option(p, "--calibration", Path, calibration, metavar="FOLDER")
    add_option(p, "--photos", int, f"the most photos of the folder that are used (default: {MOST_PHOTOS})")
    avx2 = "with --int8: weights of seven bits, so that AVX2's 16-bit sums do not overflow"
    p.add_argument("--avx2", action="store_true", help=avx2)
    hub = "also write a folder in the layout of the Hugging Face Hub: README.md with its header, weights, exports and chart"
    add_option(p, "--hub", Path, hub, metavar="FOLDER")
    programs = (
        "also write what another program needs: NAME.deepness.onnx for QGIS's Deepness, or NAME.run.py, which makes masks with "
        "ONNX Runtime; can be repeated"
    )
    p.add_argument("--for", dest="programs", action="append", choices=tuple(SUFFIXES), default=[], help=programs)
    p.add_argument("--force", action="store_true", help="replace files that exist; without it, they are an error")
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_command("fcn-export", lambda: _export(args))


def _export(args: argparse.Namespace) -> None:
    if args.int8 and args.calibration is None:
        raise ValueError("--int8 needs --calibration FOLDER, with photos on which the ranges of int8 are measured")
    check_companions(args, dict.fromkeys(("calibration", "photos", "avx2"), "int8"))
    if args.photos is not None and args.photos < 1:
        raise ValueError(f"--photos must be at least 1, got {args.photos}")
    conversion = read_imported(Path(args.weights))
    if conversion and (args.hub or not (args.int8 or args.programs)):
        raise ValueError(f"{args.weights} is a converted network's own file; of exports, there are --int8 and --for alone")
    path = Path(args.weights) if conversion else find_weights(args.weights)
    float32 = export_path(path, "float32")
    is_optional = bool(args.int8 or args.hub or args.programs) and not args.force
    is_current = conversion is not None or (is_optional and _is_current(path, float32))
    outputs = [*([] if is_current else [float32]), *([export_path(path, "int8")] if args.int8 else [])]
    _check_outputs([*outputs, *program_paths(float32, args.programs)], force=args.force)
    if args.hub:
        check_output(args.hub / "README.md", None if args.force else begins_with(CARD))
    if not is_current:
        from training.publishing.export_files import export_float32

        export_float32(path)
    if args.int8:
        export_int8(path, args.calibration, photos=args.photos or MOST_PHOTOS, avx2=args.avx2)
    for file in [*outputs, *write_programs(float32, args.programs)]:
        print(f"wrote {file} ({file.stat().st_size / 1e6:.1f} MB)")
    if args.hub:
        print(f"wrote {', '.join(map(str, write_hub_folder(path, args.hub)))}; hf upload OWNER/NAME {args.hub} uploads them")


def _is_current(master: Path, export: Path) -> bool:
    """Whether this export was made from the master."""
    try:
        return export.is_file() and read_export(export).master_sha256 == load_weights(master).sha256
    except WeightsError:
        return False


def _check_outputs(paths: Sequence[Path], *, force: bool) -> None:
    names = ", ".join(str(path) for path in paths if os.path.lexists(path))
    if names and not force:
        raise ValueError(f"already there: {names}; nothing was written; give --force to replace")
    for path in paths:
        check_output(path)
