"""Compares the commands of two checkouts on the same files: exit status, output, and every file that they write."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx

from benchmarks.commits.differences import Parts, Report
from benchmarks.commits.requests import SCENE, SMALL
from benchmarks.commits.services import FIXED, Checkouts
from benchmarks.harness.image_files import file_of
from benchmarks.harness.images import PHOTOS, photo
from benchmarks.harness.serving import ROOT, service
from training.data.demo import demo_photo, write_demo_data

MOST_S = 600
ENTRY = "import sys; sys.argv[0] = {command!r}; from {module} import {function}; sys.exit({function}())"
# parses each list of arguments from stdin, all of them wrong, so that no command begins its work
PARSE = """\
import contextlib, io, json, sys
from {module} import {function}
for sys.argv in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try: status = {function}()
        except SystemExit as end: status = end.code
    print(json.dumps([status, out.getvalue(), err.getvalue()]), file=sys.__stdout__)
"""
NETWORK = "--weights varied.safetensors --device cpu --precision float32 --threads 1"
COMMANDS = """\
fcn-segment in/a.jpg -o - NETWORK
fcn-segment in -o masks NETWORK
fcn-segment in -o masks --resume NETWORK
fcn-segment in -o masks --resume --format grey NETWORK
fcn-segment in -o json --format json --json --results rows.jsonl --rank rank.txt NETWORK
fcn-segment in/a.jpg in/b.png -o polygons --format json --mask polygons --topology shared NETWORK
fcn-segment --from-file list.txt -o listed --format overlay --image-format jpeg --no-names NETWORK
fcn-segment in -o shard --shard 1/2 NETWORK
fcn-segment in/a.jpg in/b.png -o photos.json --format coco --mask polygons NETWORK
fcn-segment in/a.jpg in/b.png -o runs.json --format coco --min-area 0.1% --fill-holes 50 NETWORK
fcn-segment in -o served --server URL --json
fcn-segment in/a.jpg -o served.json --server URL --format json --model narrow
fcn-segment in -o wrong --server URL --model nothing
fcn-segment in -o nobody --server http://127.0.0.1:9
fcn-segment in/broken.jpg -o broken.png NETWORK
fcn-segment in/nothing.jpg -o nothing.png NETWORK
fcn-segment in -o one.png NETWORK
fcn-segment in -o masks --weights nothing
fcn-segment in -o masks --weights in/a.jpg
fcn-segment in/a.jpg -o a.png --model x
fcn-segment in -o - --json
fcn-segment scene.tif -o scene.out.tif NETWORK
fcn-segment scene.tif -o cog.tif --cog --style --gsd 0.3 --bands 3,2,1 NETWORK
fcn-segment scene.tif -o scene.geojson --topology shared --min-area 5m2 NETWORK
fcn-segment scene.tif -o scene.gpkg --classes circle,square --tolerance 0.5 --style NETWORK
fcn-segment scene.tif -o scenes --scenes tif --scale 0,200 NETWORK
fcn-segment in/a.jpg -o a.tif NETWORK
fcn-segment scene.tif -o scene.out.tif --resume NETWORK
fcn-segment scene.tif -o scene.geojson --side 64 NETWORK
fcn-segment in/a.jpg -o default.png
fcn-import photos.json --images in -o imported
fcn-import --raster scene.tif --vector labels.geojson --field NOTHING -o tiles
fcn-import --raster scene.tif --vector labels.geojson --field class -o tiles --tile 64
fcn-import in/a.jpg -o imported
fcn-check demo
fcn-check imported
fcn-check in
fcn-evaluate --data demo --json scores.json NETWORK
fcn-evaluate --data demo --calibrate NETWORK
fcn-evaluate --data in NETWORK
fcn-convert net.onnx -o converted.onnx --mean 0,0,0 --std 1,1,1 --scale 1 --classes demo/classes.json --photos photos
fcn-convert net.onnx -o nothing.onnx
fcn-convert in/a.jpg -o nothing.onnx
fcn-segment in/a.jpg -o converted.png --weights converted.onnx --device cpu --threads 1
fcn-export --weights narrow.safetensors
fcn-export --weights narrow.safetensors --for onnxruntime --force
fcn-export --weights nothing
fcn-train --data in -o trained
fcn-bulk in -o bulk --shard 1/2
"""


def write_inputs(folder: Path, weights: Path) -> None:
    """Writes all files that the commands read. weights: the folder of the cheap networks."""
    write_demo_data(folder / "demo", train=6, val=3)
    with demo_photo() as picture:
        files = {"in/a.jpg": SMALL, "in/b.png": file_of(picture, "PNG"), "in/sub/c.webp": file_of(picture, "WEBP")}
    files |= {"in/broken.jpg": SMALL[:2000], "in/notes.txt": b"no image", "list.txt": b"in/a.jpg\nin/sub/c.webp\nin/none.jpg\n"}
    files |= {f"photos/{name}.jpg": photo(name, (200, 150)) for name in PHOTOS}
    files |= {path.name: path.read_bytes() for path in weights.iterdir()}
    files |= {"scene.tif": SCENE, "labels.geojson": (ROOT / "docs" / "scenes" / "osbs-labels.geojson").read_bytes()}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    network = onnx.load(weights / "narrow.onnx")
    del network.metadata_props[:]  # as other programs write it
    onnx.save(network, folder / "net.onnx")


class Side:
    """The commands of a checkout, and the folder in which they run."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.checkout, self.folder = checkout, folder
        self.entries = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["scripts"]
        self.files: dict[str, bytes] = {}

    def start(self, command: str, arguments: Sequence[str], program: str = ENTRY, text: str = "", **more: str) -> Parts:
        """Runs a command with these arguments; gives what it says. more: variables."""
        module, _, function = self.entries.get(command, "nothing:nothing").partition(":")
        code = program.format(command=command, module=module, function=function)
        own = {name: value for name, value in os.environ.items() if not name.startswith("SEGMENT_")}
        result = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=self.folder, env=own | {"PYTHONPATH": str(self.checkout)} | more,
            input=text.encode(), capture_output=True, timeout=MOST_S, check=False,
        )  # fmt: skip
        paths = re.compile(rb"|".join(re.escape(str(path).encode()) for path in (self.folder, self.checkout)))
        output = {"stdout": result.stdout, "stderr": result.stderr, "exit status": b"%d" % result.returncode}
        return {name: paths.sub(b"<folder>", value) for name, value in output.items()}

    def run(self, line: str, url: str) -> Parts:
        """Runs a line of `COMMANDS`; gives what it says, and the files that it has written, changed or removed."""
        command, *arguments = shlex.split(line.replace("NETWORK", NETWORK).replace("URL", url))
        parts, before = self.start(command, arguments), self.files
        self.files = {
            str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()
        }
        changes = {name: data for name, data in self.files.items() if before.get(name) != data}
        changes |= {name: b"removed" for name in before if name not in self.files}
        return {**parts, **{f"file {name}": data for name, data in changes.items()}}


def compare_commands(report: Report, checkouts: Checkouts, weights: str, default: str, folder: Path) -> None:
    """Runs the lines of `COMMANDS` on both sides, at the same time, and adds what they gave to the report."""
    sides = make_sides(checkouts, folder, Path(weights.split(",")[0]).parent)
    lines = COMMANDS.splitlines()

    def outcomes(side: Side) -> list[Parts]:
        with service(checkout=side.checkout, weights=weights, log=side.folder.with_suffix(".log"), **FIXED) as server:
            return [side.run(line, server.url) for line in lines]

    with ThreadPoolExecutor() as pool:
        for line, former, this in zip(lines, *pool.map(outcomes, sides), strict=True):
            report.add("commands", line, former, this)


def compare_arguments(report: Report, checkouts: Checkouts, weights: str, default: str, folder: Path) -> None:
    """Gives every option of every command a wrong value, and compares the messages, the help and the versions."""
    sides = make_sides(checkouts, folder, Path(weights.split(",")[0]).parent)
    for command in sorted({*sides[0].entries, *sides[1].entries}):
        helps = [side.start(command, ["--help"]) for side in sides]
        report.add("arguments", f"{command} --help", *helps)
        flags = sorted({flag for text in helps for flag in re.findall(r"--[a-z][-a-z0-9]*", text["stdout"].decode())})
        wrong = [[], ["--version"], *([flag, *value, "--no-such"] for flag in flags for value in ([], ["x"], ["-1"], [""]))]
        wrong = [[command, *arguments] for arguments in wrong]
        outputs = [side.start(command, [], PARSE, json.dumps(wrong)) for side in sides]
        report.add("arguments", f"{command}: parsing", *({"stderr": each["stderr"]} for each in outputs))
        rows = [each["stdout"].splitlines() for each in outputs]
        for arguments, former, this in zip(wrong, *rows, strict=True):
            report.add("arguments", " ".join(arguments), {"output": former}, {"output": this})


def compare_settings(report: Report, checkouts: Checkouts, weights: str, default: str, folder: Path) -> None:
    """Starts the services with settings of which at least the port is wrong, and compares what they say."""
    sides = make_sides(checkouts, folder, Path(weights.split(",")[0]).parent)
    text = b"".join(side.start("fcn-serve", ["--help"])["stdout"] for side in sides).decode()
    names = sorted(set(re.findall(r"SEGMENT_[A-Z0-9_]+", text)))
    settings: list[Mapping[str, str]] = [dict.fromkeys(names, value) for value in ("x", "-1", "", "'a'", ",", "1e999", "/a b")]
    settings += [
        {name: "x"} for name in ("SEGMENT_PORTS", "SEGMENT_WEIGHT", "SEGMENT_", "segment_port", "AIP_HTTP_PORT", "PORT")
    ]
    for each in settings:
        said = (side.start("fcn-serve", [], **{"SEGMENT_PORT": "x", **each}) for side in sides)
        report.add("settings", json.dumps(each)[:60], *said)


def make_sides(checkouts: Checkouts, folder: Path, weights: Path) -> list[Side]:
    """Both sides, each with a folder of its own that has the same files."""
    sides = [Side(checkout, folder / name) for name, checkout in zip(("former", "this"), checkouts, strict=True)]
    for side in sides:
        if not side.folder.exists():
            write_inputs(side.folder, weights)
        side.files = {
            str(path.relative_to(side.folder)): path.read_bytes() for path in side.folder.rglob("*") if path.is_file()
        }
    return sides


COMPARISONS = {"commands": compare_commands, "arguments": compare_arguments, "settings": compare_settings}
