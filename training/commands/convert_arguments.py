"""The arguments of `fcn-convert`. This module needs neither onnx nor PyTorch."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

from model.command_line import CommandParser, argument_type
from model.imported_network import LAYOUTS, OUTPUT_KINDS
from model.inference.scaling import SIDES
from model.inference.tiling import parse_tile

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
