"""`fcn-export`: exports a master for other runtimes, as float32 ONNX and as int8 by post-training quantisation.

Only the export of a master needs PyTorch, and imports it. What other programs need of an export that is there needs none.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from model.command_line import CommandParser
from model.inference.runtimes.openvino_runtime import read_export
from model.manifest import WeightsError
from model.weights_file import DEFAULT_WEIGHTS, find_weights, load_weights
from model.whole_file import begins_with, check_output
from training.commands.command import add_option, run_command
from training.publishing.card_sections import CARD
from training.publishing.onnx_files import export_path, int8_path, read_imported
from training.publishing.other_programs import program_paths, write_programs
from training.publishing.quantisation import MOST_PHOTOS, export_imported_int8

PROGRAMS = ("deepness", "onnxruntime")


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
    add_option(p, "--photos", MOST_PHOTOS, f"the most photos of the folder that are used (default: {MOST_PHOTOS})")
    avx2 = "with --int8: weights of seven bits, so that AVX2's 16-bit sums do not overflow"
    p.add_argument("--avx2", action="store_true", help=avx2)
    hub = "also write a folder in the layout of the Hugging Face Hub: README.md with its header, weights, exports and chart"
    add_option(p, "--hub", Path, hub, metavar="FOLDER")
    programs = (
        "also write what another program needs: NAME.deepness.onnx for QGIS's Deepness, or NAME.run.py, which makes masks with "
        "ONNX Runtime; can be repeated"
    )
    p.add_argument("--for", dest="programs", action="append", choices=PROGRAMS, default=[], help=programs)
    p.add_argument("--force", action="store_true", help="replace files that exist; without it, they are an error")
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_command("fcn-export", lambda: _export(args))


def _export(args: argparse.Namespace) -> None:
    if args.int8 and args.calibration is None:
        raise ValueError("--int8 needs --calibration FOLDER, with photos on which the ranges of int8 are measured")
    quantisation = {"calibration": None, "photos": MOST_PHOTOS, "avx2": False}
    if not args.int8 and (names := [f"--{name}" for name, default in quantisation.items() if getattr(args, name) != default]):
        raise ValueError(f"{', '.join(names)} is for int8; give --int8 with it")
    if args.photos < 1:
        raise ValueError(f"--photos must be at least 1, got {args.photos}")
    if read_imported(Path(args.weights)):
        _export_imported(args, Path(args.weights))
        return
    master = find_weights(args.weights)
    is_current = bool(args.int8 or args.hub or args.programs) and not args.force and _is_current(master)
    float32, int8 = (export_path(master, precision) for precision in ("float32", "int8"))
    outputs = [*([] if is_current else [float32]), *([int8] if args.int8 else []), *program_paths(float32, args.programs)]
    _check_outputs(outputs, force=args.force)
    if args.hub:
        check_output(args.hub / "README.md", None if args.force else begins_with(CARD))
    paths = [] if is_current and not args.int8 else _export_master(args, master, is_current=is_current)
    _print_written([*paths, *write_programs(float32, args.programs)])
    if args.hub:
        from training.publishing.card import write_hub_folder

        print(f"wrote {', '.join(map(str, write_hub_folder(master, args.hub)))}; hf upload OWNER/NAME {args.hub} uploads them")


def _export_master(args: argparse.Namespace, master: Path, *, is_current: bool) -> list[Path]:
    """The exports that it made of a master, which PyTorch makes. is_current: whether the float32 export is there already."""
    from training.publishing.export_files import export_float32, export_int8

    paths = [] if is_current else [export_float32(master)]
    return [*paths, *([export_int8(master, args.calibration, photos=args.photos, avx2=args.avx2)] if args.int8 else [])]


def _export_imported(args: argparse.Namespace, path: Path) -> None:
    """The int8 file of an imported network, whose float32 file exists, and the files for other programs."""
    if args.hub or not (args.int8 or args.programs):
        raise ValueError(f"{path} is a converted network's own file; of exports, there are --int8 and --for alone")
    targets = [int8_path(path)] if args.int8 else []
    _check_outputs([*targets, *program_paths(path, args.programs)], force=args.force)
    if args.int8:
        export_imported_int8(path, args.calibration, photos=args.photos, avx2=args.avx2)
    _print_written([*targets, *write_programs(path, args.programs)])


def _print_written(paths: Sequence[Path]) -> None:
    for path in paths:
        print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


def _is_current(master: Path) -> bool:
    """Whether the float32 export beside a master was made from it."""
    path = export_path(master, "float32")
    try:
        return path.is_file() and read_export(path).master_sha256 == load_weights(master).sha256
    except WeightsError:
        return False


def _check_outputs(paths: Sequence[Path], *, force: bool) -> None:
    existing = ", ".join(str(path) for path in paths if os.path.lexists(path))
    if existing and not force:
        raise ValueError(f"already there: {existing}; nothing was written; give --force to replace")
    for path in paths:
        check_output(path)


if __name__ == "__main__":
    sys.exit(main())
