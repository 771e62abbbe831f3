"""`fcn-export`: exports a master for other runtimes, as float32 ONNX and as int8 by post-training quantisation.

Only the export of a master needs PyTorch, and imports it. What other programs need of an export that is there needs none.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from math import inf
from pathlib import Path

from model.command_line import CommandParser
from model.inference.runtimes.openvino_runtime import read_export
from model.manifest import WeightsError
from model.weights_file import DEFAULT_WEIGHTS, find_weights, load_weights
from model.whole_file import begins_with, check_output
from training.commands.command import run_command
from training.publishing.card_sections import CARD
from training.publishing.onnx_files import export_path, int8_path, read_imported
from training.publishing.other_programs import program_paths, write_programs
from training.publishing.quantisation import export_imported_int8

PHOTOS = 300  # photos of the calibration folder that are used
PROGRAMS = ("deepness", "onnxruntime")


def parser() -> argparse.ArgumentParser:
    p = CommandParser(
        "fcn-export",
        description="Writes the exports of a weights file beside it: NAME.onnx, and with --int8 also NAME.int8.onnx.",
    )
    source = p.add_mutually_exclusive_group()
    source.add_argument(
        "--weights",
        default=DEFAULT_WEIGHTS,
        help=f"a weights file (.safetensors), or a name in weights/ (default: {DEFAULT_WEIGHTS})",
    )
    source.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="checkpoint.pt of a training, or its folder: also writes its weights file checkpoint.safetensors and the card",
    )
    p.add_argument("--int8", action="store_true", help="also write an int8 export; needs --calibration")
    p.add_argument(
        "--calibration",
        type=Path,
        metavar="FOLDER",
        help="with --int8: photos like those that the service will get, none of them of val, to measure the ranges of int8 on; "
        "--calibrate of fcn-evaluate is something else: a temperature for the confidence",
    )
    p.add_argument("--photos", type=int, default=PHOTOS, help=f"how many photos of the folder are used (default: {PHOTOS})")
    p.add_argument(
        "--avx2", action="store_true", help="with --int8: weights of seven bits, so that AVX2's 16-bit sums do not overflow"
    )
    p.add_argument(
        "--hub",
        type=Path,
        metavar="FOLDER",
        help="also write a folder in the layout of the Hugging Face Hub: README.md with its header, weights, exports and chart",
    )
    p.add_argument(
        "--for",
        dest="programs",
        action="append",
        choices=PROGRAMS,
        default=[],
        help="also write what another program needs: NAME.deepness.onnx for QGIS's Deepness, or NAME.run.py, which makes masks "
        "with ONNX Runtime; can be repeated",
    )
    p.add_argument(
        "--resolution",
        type=_centimetres,
        metavar="CM",
        help="with --for deepness: centimetres a pixel of the maps that the network knows (default: Deepness asks)",
    )
    p.add_argument("--force", action="store_true", help="replace files that exist; without it, they are an error")
    return p


def _centimetres(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < inf:
        raise argparse.ArgumentTypeError(f"centimetres a pixel, above 0, are needed, got {text!r}")
    return value


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_command("fcn-export", lambda: _export(args))


def _export(args: argparse.Namespace) -> None:
    if args.int8 and args.calibration is None:
        raise ValueError("--int8 needs --calibration FOLDER, with photos on which the ranges of int8 are measured")
    quantisation = {"calibration": None, "photos": PHOTOS, "avx2": False}
    if not args.int8 and (names := [f"--{name}" for name, default in quantisation.items() if getattr(args, name) != default]):
        raise ValueError(f"{', '.join(names)} is for int8; give --int8 with it")
    if args.photos < 1:
        raise ValueError(f"--photos must be at least 1, got {args.photos}")
    if args.resolution is not None and "deepness" not in args.programs:
        raise ValueError("--resolution is for Deepness; give --for deepness with it")
    if args.checkpoint is None and read_imported(Path(args.weights)):
        _export_imported(args, Path(args.weights))
        return
    if args.checkpoint:
        from training.publishing.export_files import trained_master

        master = trained_master(args.checkpoint)
    else:
        master = find_weights(args.weights)
    is_current = bool(args.int8 or args.hub or args.programs) and not args.force and _is_current(master)
    outputs = [master, master.with_suffix(".md"), master.with_suffix(".png")] if args.checkpoint else []
    outputs += [] if is_current else [export_path(master, "float32")]
    outputs += [export_path(master, "int8")] if args.int8 else []
    float32 = export_path(master, "float32")
    outputs += program_paths(float32, args.programs)
    _check_outputs(outputs, force=args.force)
    if args.hub:
        check_output(args.hub / "README.md", None if args.force else begins_with(CARD))
    paths = _export_master(args, master, is_current=is_current)
    _print_written([*paths, *write_programs(float32, args.programs, args.resolution)])
    if args.hub:
        from training.publishing.card import write_hub_folder

        print(f"wrote {', '.join(map(str, write_hub_folder(master, args.hub)))}; hf upload OWNER/NAME {args.hub} uploads them")


def _export_master(args: argparse.Namespace, master: Path, *, is_current: bool) -> list[Path]:
    """The exports that it made of a master, which PyTorch makes. is_current: whether the float32 export is there already."""
    if is_current and not (args.int8 or args.checkpoint):
        return []
    from training.publishing.export_files import export_float32, export_int8, save_trained

    if args.checkpoint:
        save_trained(args.checkpoint)
    paths = [] if is_current else [export_float32(master)]
    if args.int8:
        paths.append(export_int8(master, args.calibration, photos=args.photos, avx2=args.avx2))
    return paths


def _export_imported(args: argparse.Namespace, path: Path) -> None:
    """The int8 file of an imported network, whose float32 file exists, and the files for other programs."""
    if args.hub or not (args.int8 or args.programs):
        raise ValueError(f"{path} is a converted network's own file; of exports, there are --int8 and --for alone")
    target = int8_path(path)
    outputs = [*([target] if args.int8 else []), *program_paths(path, args.programs)]
    _check_outputs(outputs, force=args.force)
    if args.int8:
        export_imported_int8(path, args.calibration, photos=args.photos, avx2=args.avx2)
    _print_written([*([target] if args.int8 else []), *write_programs(path, args.programs, args.resolution)])


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
