"""The arguments of `fcn-export`. This module needs no PyTorch."""

from __future__ import annotations

import argparse
from math import inf
from pathlib import Path

from model.command_line import CommandParser
from model.weights_file import DEFAULT_WEIGHTS

PHOTOS = 300  # photos of the calibration folder that are used
# The first convolutions of the network that stay in float32; in a MobileNetV2, the stem and the first depthwise convolution.
# With these two in int8, twice as many cells change their class, and no time is saved. Keeping more changes hardly any cell.
KEPT = 2
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
        "--keep", type=int, default=KEPT, help=f"how many of the first convolutions stay in float32 (default: {KEPT})"
    )
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
