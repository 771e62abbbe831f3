"""The arguments of `fcn-segment`. Those that `/segment` also has use the HTTP names."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from math import inf, isfinite
from typing import Any, get_args

import shtab

from cli.input import Shard
from cli.report import write_stdout
from cli.stores import SCHEMES
from common.command_line import ArgumentGroup, CommandParser, argument_type, flag
from imaging.decoding import IMAGE_FORMATS, Limits
from imaging.parameters import Group, Parameter
from imaging.rendering import ANSWER_FORMATS, RENDERING, MaskEncoding, parse_classes
from model.inference.instructions import CPU_ISAS
from model.inference.loading import PRECISIONS, RUNTIMES
from model.inference.plan import MODEL, OPTIONS, Options
from model.inference.scenes.request import SCENE, is_ground_area
from model.inference.small_regions import parse_area
from model.inference.tiling import parse_tile
from model.weights_file import DEFAULT_WEIGHTS

LOCAL = ("tile", "weights", "runtime", "device", "precision", "threads", "cpu_isa", "max_megapixels")
ORDERS = ("confidence", "background")
MOST_THREADS = 1024
EXAMPLES = """examples:
  fcn-segment photo.jpg -o mask.png
  fcn-segment photos/ -o pictures/ --format overlay --classes cat,dog
  fcn-segment https://example.org/photo.jpg -o cutout.png --format cutout
  fcn-segment photos/ -o photos.json --format coco --mask polygons
"""
CHOSEN = {name: parameter for name, parameter in (RENDERING | OPTIONS).items() if parameter.option}
"""The parameters of `/segment` that the command line has as well, by their HTTP names."""


def _area(text: str) -> None:
    """Raises `ValueError` for what is no area: pixels `200`, a share of the image `0.1%`, or the ground `5m2`."""
    try:
        if not is_ground_area(text):
            parse_area(text)
    except ValueError as error:
        raise ValueError(f"{error}; of scenes also square metres, such as 5m2") from error


def _format(text: str) -> str:
    if text in get_args(MaskEncoding) and text not in ANSWER_FORMATS:
        raise argparse.ArgumentTypeError(f"{text!r} is how json and coco write regions: --format json --mask {text}")
    return text


def _classes(text: str) -> None:
    if not parse_classes(text):
        raise ValueError(f"must be comma-separated names or ids of classes, got {text!r}")


CHECKS: dict[str, Callable[[str], object]] = {"classes": _classes, "min_area": _area}
"""What checks the texts of arguments whose errors say more."""


def parser() -> argparse.ArgumentParser:
    """Builds the parser of the command's arguments."""
    p = CommandParser(
        "fcn-segment", usage="fcn-segment IN... -o OUT [options]",
        description="Segments images and writes the same answers as the service.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add_inputs(p)
    p.add_argument("--json", action="store_true", help="write a line of JSON to stdout for each image, with its outcome")
    _add_file(p, "--rank", metavar="FILE", help="write the images' names to this file, the least certain first; - for stdout")
    by = "what comes first in it: the least confidence (default), or the most background, for classes learned as background"
    p.add_argument("--rank-by", choices=ORDERS, help=by)
    p.add_argument(
        "--print-completion", action=_Print, choices=shtab.SUPPORTED_SHELLS, metavar="SHELL",
        help=f"print the completion script of a shell: {', '.join(shtab.SUPPORTED_SHELLS)}",
    )  # fmt: skip
    add_answer(p)
    add_scene(p)
    add_network(p)
    remote = p.add_argument_group("on a running service")
    remote.add_argument("--server", metavar="URL", help="send the images to this service instead")
    remote.add_argument("--api-key", metavar="KEY", help="API key of the service")
    remote.add_argument("--job", action="store_true", help="send a scene as a job, which goes on without this command")
    _add_parameter(remote, MODEL)
    return p


def add_inputs(p: argparse.ArgumentParser, *, stdio: bool = True) -> None:
    """Adds the arguments for images, answers and results. stdio: whether `-` stands for stdin and stdout."""
    endings = ", ".join(IMAGE_FORMATS)
    urls = [f"{name}:// URLs" for name in SCHEMES]
    names = [f"files ({endings})", "folders", "patterns such as 'in/**/*.jpg'", "web addresses (https://)", *urls]
    file = "a file (for one image, or one COCO document of several)"
    places = (
        [file, "a folder", "a URL of an object store", "- for stdout"] if stdio else ["a folder", "a URL of an object store"]
    )
    _add_file(p, "inputs", nargs="*", metavar="IN", help=_either([*names, "-"] if stdio else names))
    _add_file(p, "--from-file", metavar="LIST", help="file with one path or URL per line, instead of IN; - for stdin")
    _add_file(p, "-o", "--out", required=True, action=_Outputs, help=f"where answers go: {_either(places)}")
    p.add_argument("--resume", action="store_true", help="skip images that have an up-to-date answer")
    p.add_argument("--force", action="store_true", help="also replace answers that were changed after they were written")
    p.add_argument("--shard", type=_shard, metavar="I/N", help="do one of N parts of the images; I is 0 to N-1")
    _add_file(p, "--results", metavar="FILE", help="write a table with a row for each image: FILE.jsonl or FILE.parquet")


def add_answer(p: argparse.ArgumentParser) -> None:
    """Adds the arguments that `/segment` has as well. One that is left out is None: its default is that of `Options`."""
    for title in get_args(Group):
        if parameters := [parameter for parameter in CHOSEN.values() if parameter.group == title]:
            group = p.add_argument_group(f"{title}, as over HTTP")
            for parameter in parameters:
                _add_parameter(group, parameter)


def _add_parameter(group: ArgumentGroup, parameter: Parameter) -> None:
    """Adds the argument of a parameter of `/segment`."""
    option = flag(parameter.name)
    text = f"{parameter.option}{_default(parameter)}".replace("{formats}", parameter.formats_in_words).replace("%", "%%")
    if parameter.type is bool:
        action = argparse.BooleanOptionalAction if parameter.default else "store_true"
        group.add_argument(option, action=action, default=None, help=text)
    elif parameter.is_choice:
        own_name = _format if parameter.name == "format" else parameter.own_name
        group.add_argument(option, type=own_name, choices=parameter.choices, help=text)
    else:
        group.add_argument(option, metavar=parameter.metavar, type=_type(parameter), help=text)


def _type(parameter: Parameter) -> Callable[[str], Any]:
    """What reads a parameter's value. A text stays one, since a service reads it itself; blanks in those of a pattern go."""
    if parameter.is_text:
        check = CHECKS.get(parameter.name) or parameter.parse or str

        def checked(text: str) -> str:
            check(text)
            return "".join(text.split()) if parameter.pattern else text

        return argument_type(checked)
    if parameter.parse:
        return argument_type(parameter.parse)
    if int in parameter.members:
        return whole_number(int(parameter.least), int(parameter.most))
    return number(parameter.least, parameter.most)


def _default(parameter: Parameter) -> str:
    """What counts without the argument, in words."""
    if parameter.type is bool:
        return f" (default: {flag(parameter.name)})" if parameter.default else ""
    return f" (default: {parameter.unset or parameter.default or 0})"


def add_scene(p: argparse.ArgumentParser) -> None:
    """Adds the arguments that only scenes have."""
    group = p.add_argument_group(
        "of a raster with coordinates (extra geo): -o FILE.tif, FILE.geojson or FILE.gpkg, or several -o"
    )
    for parameter in SCENE.values():
        _add_parameter(group, parameter)
    group.add_argument("--cog", action="store_true", help="write a Cloud Optimized GeoTIFF")
    group.add_argument("--style", action="store_true", help="write a style for QGIS beside the result, FILE.qml")
    group.add_argument(
        "--scenes", choices=("tif", "geojson", "gpkg"), help="IN are scenes: -o is a folder that gets such a file for each"
    )


def add_network(p: argparse.ArgumentParser) -> None:
    """Adds the arguments that choose weights, runtime and device."""
    group = p.add_argument_group("where the network runs")
    group.add_argument(
        "--tile",
        metavar="SIDE",
        type=argument_type(parse_tile),
        default=Options.tile,
        help="auto (the weights' own), a side or HEIGHTxWIDTH, multiples of 32",
    )
    _add_file(group, "--weights", metavar="NAME", default=DEFAULT_WEIGHTS, help="weights: a file, or a name in weights/")
    group.add_argument(
        "--runtime", choices=RUNTIMES, default="auto", help="library that runs the network (default: as in the service)"
    )
    group.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    group.add_argument(
        "--precision", choices=PRECISIONS, default="auto", help="number format of the network (default: as in the service)"
    )
    threads = whole_number(0, MOST_THREADS, " (0: one per core)")
    group.add_argument(
        "--threads", metavar="N", type=threads, default=0, help="CPU threads of the network (default: one per core)"
    )
    group.add_argument(
        "--cpu-isa", choices=CPU_ISAS, default="auto",
        help="widest instructions that OpenVINO uses, by oneDNN's names (default: as in the service)",
    )  # fmt: skip
    group.add_argument(
        "--max-megapixels",
        metavar="N",
        type=number(0, inf, above=True),
        default=Limits.megapixels,
        help="largest image, in 10^6 pixels",
    )


def service_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments that a service has as well and that the command line sets, by their HTTP names; texts are not read."""
    return {name: value for name in CHOSEN | SCENE if (value := getattr(args, name)) is not None}


def options(args: argparse.Namespace) -> Options:
    """What the arguments ask for. Raises `WrongParameter` for one that the format does not use."""
    return Options.of(service_arguments(args), tile=args.tile)


def _add_file(p: ArgumentGroup, *names: str, **options: Any) -> None:
    """Adds an argument that names files; shells complete it with them."""
    p.add_argument(*names, **options).complete = shtab.FILE  # type: ignore[attr-defined]


def _either(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def number(least: float, most: float, *, above: bool = False) -> Callable[[str], float]:
    """The type of an argument: a finite number from `least` to `most`. With `above`, it must be greater than `least`."""
    span = f"{'above ' if above else ''}{least:g}" + (f" to {most:g}" if isfinite(most) else ", and finite")

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = inf
        if isfinite(value) and least <= value <= most and not (above and value == least):
            return value
        raise argparse.ArgumentTypeError(f"must be a number, {span}, got {text!r}")

    return parse


def whole_number(least: int, most: int, meaning: str = "") -> Callable[[str], int]:
    """The type of an argument: a whole number from `least` to `most`. meaning: of special values, for the error."""

    def parse(text: str) -> int:
        if text.isdecimal() and least <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"must be a whole number, {least} to {most}{meaning}, got {text!r}")

    return parse


def _shard(text: str) -> Shard:
    index, _, count = text.partition("/")
    if index.isdecimal() and count.isdecimal() and int(index) < int(count):
        return Shard(int(index), int(count))
    raise argparse.ArgumentTypeError(f"must be I/N with I from 0 to N-1, such as 0/8, got {text!r}")


class _Outputs(argparse.Action):
    """Keeps each `-o` in `outs`, and the last one in `out`."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: str | Sequence[Any] | None, *_: Any
    ) -> None:
        namespace.outs = [*getattr(namespace, "outs", []), values]
        namespace.out = values


class _Print(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: str | Sequence[Any] | None, *_: Any
    ) -> None:
        script = shtab.complete(parser, str(values))
        if values == "bash":
            # shtab does not say that its words are file names: bash would not quote spaces, nor end folders with /
            script = script.replace("complete -o bashdefault -F", "complete -o bashdefault -o filenames -F")
        write_stdout(f"{script}\n".encode())
        parser.exit()
