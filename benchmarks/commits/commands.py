"""Compares the commands of two checkouts on the same files: exit status, output, and every file that they write."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import zip_longest
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
LINES = Path(__file__).with_suffix(".txt").read_text().splitlines()
NETWORK = "--weights varied.safetensors --device cpu --precision float32 --threads 1"
ENTRY = "import sys; sys.argv[0] = {command!r}; from {module} import {function}; sys.exit({function}())"
# runs a command once for each line of stdin, with its arguments and variables; each must be wrong, so that no work begins
WRONG = """\
import contextlib, io, json, os, sys
from {module} import {function}
before = dict(os.environ)
for sys.argv, variables in map(json.loads, sys.stdin):
    os.environ.clear()
    os.environ.update(before, **variables)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try: status = {function}()
        except SystemExit as end: status = end.code
    print(json.dumps([status, out.getvalue(), err.getvalue()]), file=sys.__stdout__)
"""
VALUES = ("x", "-1", "", "'a'", ",", "1e999")


class Side:
    """The commands of a checkout, and the folder with files in which they run. weights: the folder of the cheap networks."""

    def __init__(self, checkout: Path, folder: Path, weights: Path) -> None:
        self.checkout, self.folder = checkout, folder
        self.entries = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["scripts"]
        write_demo_data(folder / "demo", train=6, val=3)
        files = {"in/a.jpg": SMALL, "in/sub/c.webp": file_of(demo_photo(), "WEBP"), "in/b.png": file_of(demo_photo(), "PNG")}
        files |= {"in/broken.jpg": SMALL[:2000], "in/notes.txt": b"no image", "list.txt": b"in/a.jpg\nin/none.jpg\n"}
        files |= {"scene.tif": SCENE, "labels.geojson": (ROOT / "docs" / "scenes" / "osbs-labels.geojson").read_bytes()}
        files |= {f"photos/{name}.jpg": photo(name, (200, 150)) for name in PHOTOS}
        files |= {path.name: path.read_bytes() for path in weights.iterdir()}
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        network = onnx.load(weights / "narrow.onnx")
        del network.metadata_props[:]  # as other programs write it
        onnx.save(network, folder / "net.onnx")
        self.files = self._read()

    def _read(self) -> dict[str, bytes]:
        """The folder's files; the lines of a journal are in the order in which threads were done, and are sorted."""
        files = {str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        return files | {name: b"\n".join(sorted(files[name].splitlines())) for name in files if "/.fcn-segment/" in name}

    def start(self, command: str, *arguments: str, program: str = ENTRY, text: str = "") -> Parts:
        """Runs a command with these arguments; gives what it says. program: runs it. text: its stdin."""
        module, _, function = self.entries.get(command, "nothing:nothing").partition(":")
        code = program.format(command=command, module=module, function=function)
        variables = {name: value for name, value in os.environ.items() if not name.startswith("SEGMENT_")}
        result = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=self.folder, env=variables | {"PYTHONPATH": str(self.checkout)},
            input=text.encode(), capture_output=True, timeout=MOST_S, check=False,
        )  # fmt: skip
        paths = re.compile(b"|".join(re.escape(str(path).encode()) for path in (self.folder, self.checkout)))
        output = {"stdout": result.stdout, "stderr": result.stderr, "exit status": b"%d" % result.returncode}
        return {name: paths.sub(b"<folder>", value) for name, value in output.items()}

    def run(self, line: str, url: str) -> Parts:
        """Runs a line of `LINES`; gives what it says, and the files that it has written, changed or removed."""
        command, *arguments = shlex.split(line.replace("NETWORK", NETWORK).replace("URL", url))
        parts, before = self.start(command, *arguments), self.files
        self.files = self._read()
        names = [name for name in before | self.files if before.get(name) != self.files.get(name)]
        return {**parts, **{f"file {name}": self.files.get(name, b"removed") for name in names}}


def compare_commands(report: Report, checkouts: Checkouts, weights: Path, folder: Path) -> None:
    """Runs the command lines on both sides, at the same time."""

    def outcomes(side: Side) -> list[Parts]:
        path, log = f"{weights}/varied.safetensors,{weights}/narrow.safetensors", side.folder.with_suffix(".log")
        with service(checkout=side.checkout, weights=path, log=log, **FIXED) as server:
            return [side.run(line, server.url) for line in LINES]

    with ThreadPoolExecutor() as pool:
        for line, *parts in zip(LINES, *pool.map(outcomes, _sides(checkouts, weights, folder)), strict=True):
            report.add("commands", line, *parts)


def compare_messages(report: Report, checkouts: Checkouts, weights: Path, folder: Path) -> None:
    """Gives every option of every command and every setting wrong values; compares what is said, the help and the versions."""
    sides = _sides(checkouts, weights, folder)
    for command in sorted({*sides[0].entries, *sides[1].entries}):
        helps = [side.start(command, "--help") for side in sides]
        report.add("messages", f"{command} --help", *helps)
        text = b"".join(each["stdout"] for each in helps).decode()
        flags, settings = (sorted(set(re.findall(pattern, text))) for pattern in (r"--[a-z][-a-z0-9]*", r"SEGMENT_[A-Z0-9_]+"))
        arguments = [["--version"], *([flag, value, "--no-such"] for flag in flags for value in ("--no-such", *VALUES))]
        cases: list[tuple[list[str], dict[str, str]]] = [([command, *each], {}) for each in arguments]
        if settings:  # the port is wrong beside them, so that no service starts
            wrong = [*(dict.fromkeys(settings, value) for value in VALUES), {"SEGMENT_PORTS": "1"}, {"segment_port": "1"}]
            cases += [([command], {"SEGMENT_PORT": "x"} | each) for each in (*wrong, *({name: "x"} for name in settings))]
        start = partial(Side.start, command=command, program=WRONG, text="\n".join(map(json.dumps, cases)))
        with ThreadPoolExecutor() as pool:
            outputs = list(pool.map(start, sides))
        report.add("messages", f"{command}: all", *({**each, "stdout": b""} for each in outputs))
        rows = zip_longest(*(output["stdout"].splitlines() for output in outputs), fillvalue=b"")  # one may have ended early
        for each, lines in zip(cases, rows, strict=True):
            report.add("messages", f"{each}", *({"output": line} for line in lines))


def _sides(checkouts: Checkouts, weights: Path, folder: Path) -> list[Side]:
    return [Side(checkout, folder / name, weights) for name, checkout in zip(("former", "this"), checkouts, strict=True)]


COMPARISONS = {"commands": compare_commands, "messages": compare_messages}
