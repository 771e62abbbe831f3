"""What is asked of a scene, read from the command line."""

from __future__ import annotations

import argparse
import glob
import os
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import combinations

from cli.arguments import service_arguments
from cli.places import is_path, real
from cli.report import as_options
from common.command_line import install_command
from imaging.parameters import Parameter
from imaging.rendering import RENDERING
from model.inference.plan import OPTIONS
from model.inference.scenes.request import (
    KINDS,
    OF_POLYGONS,
    OF_RASTERS,
    SCENE,
    Kind,
    SceneRequest,
    is_ground_area,
    kind_of,
    scene_parameters,
)

OF_SCENES = (*SCENE, "cog", "style")
"""The arguments that only scenes have."""
OF_JOBS = {"server", "api_key", "model"}
ENDINGS = (".tif", ".tiff", ".vrt", ".jp2", ".img")
"""How the names of scenes in folders end."""
OF_PICTURES = ("rank", "rank_by", "results", "json", "shard", "from_file", "server", "api_key", "model")


def read_requests(args: argparse.Namespace) -> list[SceneRequest]:
    """The requests; none if the output is that of pictures. Raises `OSError` for arguments that do not go together.

    Outputs of one scene have the same source, and follow one another.
    """
    if args.scenes is None:
        _check_outs(args)
        return list(filter(None, (_read_request(args, args.inputs, out, args.outs) for out in args.outs)))
    if len(args.outs) > 1:
        raise OSError(f"--scenes writes a file for each scene to one folder, got -o {' and -o '.join(args.outs)}")
    if kind_of(args.out) is not None:
        raise OSError(f"--scenes writes a file for each scene to a folder, and -o {args.out} is a file; leave one of them out")
    outs: dict[str, str] = {}
    for source in (source for name in args.inputs for source in _scenes(name, args.out)):
        out = os.path.join(args.out, f"{os.path.splitext(os.path.basename(source))[0]}.{args.scenes}")
        if (earlier := outs.setdefault(out, source)) != source:
            raise OSError(f"{earlier} and {source} would both become {out}; give them different -o folders")
    if not outs:
        raise OSError("give the scenes, such as scenes/*.tif")
    return list(filter(None, (_read_request(args, [source], out, [out]) for out, source in outs.items())))


def _scenes(name: str, out: str) -> list[str]:
    """The scenes that an input names: those of a folder but below `out`, or of a pattern; else the input. Raises `OSError`."""
    is_folder = os.path.isdir(name)
    if not is_path(name) or not (is_folder or glob.has_magic(name)) or os.path.isfile(name):
        return [name]
    paths = glob.glob(os.path.join(glob.escape(name), "**") if is_folder else name, recursive=True)
    if is_folder:
        left_out = None if real(name).is_relative_to(real(out)) else real(out)
        paths = [path for path in paths if path.lower().endswith(ENDINGS)]
        paths = [path for path in paths if left_out is None or not real(path).is_relative_to(left_out)]
    if not (scenes := sorted(filter(os.path.isfile, paths))):
        raise OSError(f"no scenes in {name!r}; in folders, their names end in {', '.join(ENDINGS)}")
    return scenes


def _check_outs(args: argparse.Namespace) -> None:
    """Raises `OSError` unless each of several outputs is of a scene and of its own kind."""
    for first, second in combinations(args.outs, 2):
        both = f"-o {first} and -o {second}"
        if None in (kind_of(first), kind_of(second)):
            raise OSError(f"{both}: several outputs are for a scene, and end in {', '.join(KINDS)}; give one")
        if kind_of(first) == kind_of(second):
            raise OSError(f"{both} would have the same content; give one of them")
        if args.style and os.path.splitext(first)[0] == os.path.splitext(second)[0]:
            raise OSError(f"{both} would have one style; give them different names, or leave --style out")


def _read_request(args: argparse.Namespace, inputs: Sequence[str], out: str, outs: Sequence[str]) -> SceneRequest | None:
    """The request of one of a scene's outputs; None if the output is that of pictures. Raises as `read_requests`."""
    kind = kind_of(out)
    if kind is None:
        if options := [name for name in OF_SCENES if getattr(args, name) not in (None, False)]:
            raise OSError(f"--{options[0]} is for scenes; give -o a file that ends in {', '.join(KINDS)}, or leave it out")
        if is_ground_area(args.min_area or ""):
            raise OSError("--min-area in m2 is for polygons of scenes; give pixels or a share such as 0.1%")
        return None
    _check(args, inputs, out, set(map(kind_of, outs)))
    others = {"tile": args.tile, "resume": args.resume, "style": args.style, "cog": args.cog and kind == "tif"}
    return SceneRequest.of(inputs[0], out, service_arguments(args), **others)


def _check(args: argparse.Namespace, inputs: Sequence[str], out: str, kinds: set[Kind | None]) -> None:
    """Raises `OSError` for arguments that do not go together. kinds: of all outputs; each argument has to fit one of them."""
    for package in () if args.job else ("rasterio", "pyogrio"):
        if find_spec(package) is None:
            raise OSError(f"-o {out} needs the package {package}: {install_command('geo')}")
    if len(inputs) != 1:
        raise OSError(f"-o {out} takes one scene, got {len(inputs)}; give --scenes tif and a folder for several")
    foreign = set(OF_PICTURES) - (OF_JOBS if args.job else set())
    if options := [name for name in OF_PICTURES if name in foreign and getattr(args, name, None) not in (None, False)]:
        advice = "leave it out, or add --job" if options[0] in OF_JOBS else "leave it out"
        raise OSError(f"--{options[0].replace('_', '-')} is for pictures, and -o {out} is that of a scene; {advice}")
    if others := [name for name in service_arguments(args) if name not in scene_parameters(kinds)]:
        parameter: Parameter = (RENDERING | OPTIONS)[others[0]]
        hint = "it applies to polygons, .geojson and .gpkg" if parameter.name in OF_POLYGONS else "scenes do not have it"
        hint = "it applies to rasters, .tif" if parameter.name in OF_RASTERS else hint
        if parameter.name == "side":
            hint = "scenes keep their pixels; --gsd METRES scales them"
        raise OSError(as_options(f"--{parameter.name.replace('_', '-')} is not for -o {out}: {hint}; leave it out"))
    if args.min_area is not None and not is_ground_area(args.min_area):
        raise OSError(f"--min-area of a scene is in square metres, such as 5m2, got {args.min_area}")
    if args.style and args.format == "confidence":
        raise OSError(f"--style is for classes and polygons, and -o {out} has confidence; leave it out")
    if args.cog and "tif" not in kinds:
        raise OSError(f"--cog is for rasters, and -o {out} has polygons; leave it out")
    if not is_path(out):
        raise OSError(f"-o {out}: a scene's result goes to a file on this machine; copy it from there")
    if is_path(inputs[0]) and real(inputs[0]) == real(out):
        raise OSError(f"{out} would overwrite the scene; give another -o")
    if is_path(inputs[0]) and not os.path.isfile(inputs[0]):
        what = f"{inputs[0]!r} is a folder" if os.path.isdir(inputs[0]) else f"no file {inputs[0]!r}"
        raise OSError(f"{what}; -o {out} takes one scene; give --scenes tif and a folder for several")
