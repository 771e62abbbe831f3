"""Runs commands of a page in an environment, in a folder that looks like the checkout, and reads what they wrote."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from pyarrow import parquet

from imaging.decoding import IMAGE_FORMATS
from imaging.formats import heif
from model.weights_file import WEIGHTS_FOLDER
from tests.support.checkout import ROOT
from tests.support.environments.inputs import add_inputs
from tests.support.environments.page_commands import PageCommands
from tests.support.environments.stores import object_store

ADDRESS = "http://127.0.0.1:8000"
LONGEST_S = 3600
LOGICAL_LINE = re.compile(r"(?:[^\\\n]|\\\n|\\.)+")
LEFT_OUT = {
    r"^\s*(\w+=\S+ )?make ": "the README's tests run it",
    r"^\s*(docker|aws|gcloud|hf|kill) ": "it needs another machine or a running service",
    r"https://example\.org": "it asks the web",
    r"cvat\.example|fcn-label-studio|--server-host": "the client's tests run it against the real tool",
    r"data/(camvid|voc2012)|benchmarks\.studies": "it needs data that does not ship",
    r"^\s*(\w+=\S+ )?(\S*/)?fcn-serve$": "it runs until it is stopped",
    r"pip install": "the environment has it",
}
"""Commands that are not run here, each with the reason."""
QUICK_RECIPE = "training/recipes/finetune.toml --batch 4 --set 'crop=[96,96]' --set 'side=[96,96]' --device cpu"
CHANGES = {
    r"training/recipes/finetune\.toml": QUICK_RECIPE,  # what a test can wait for
    r"--epochs \d+": "",
    r"(fcn-train )": r"\1--epochs 1 ",
    r"--out TILES": "--out TILES --tile 64",  # of a small scene
    r"(fcn-convert )": r"\1--force ",  # the networks of the page are alternatives
}
MISSING = re.compile(r"Traceback|No module named|is missing: |needs the (package|extra)|needs PyTorch")
OF_RUN = re.compile(rb'(?i)(fcn_key\W+|"request_id":")[0-9a-f]+')  # digests of a scene's path and time; ids of requests
RUN_OF_TABLE = re.compile(r"(?<=-)[0-9a-f]{8}(?=-\d+\.parquet)")
TRAININGS = "runs"  # the folder of trainings: its files, and what commands make of them, are compared by name
# what a refusal lists follows the extra heif, which is there where everything is installed
ACCEPTED, ACCEPTED_WITHOUT_EXTRAS = (
    ", ".join(formats).encode() for formats in (IMAGE_FORMATS, [each for each in IMAGE_FORMATS if each != heif.NAME])
)
VOLATILE = {"milliseconds", "seconds", "key"}  # facts of rows that depend on the run


@dataclass
class PageFailure(Exception):
    """Commands that did not do in their environment what their page says."""

    commands: PageCommands
    reason: str

    def __str__(self) -> str:
        place = f"{self.commands.page}, {self.commands.section!r}, {self.commands.environment}"
        return f"{place}:\n{self.commands.text}\n{self.reason}"


class Place:
    """A folder for each page that looks like the checkout, with one environment's commands. Files stay between commands."""

    def __init__(self, folder: Path, environment: Path) -> None:
        self._folder, self.environment = folder, environment
        self.of_trainings = set[tuple[str, str]]()  # page and name of the files that depend on a training

    def page(self, name: str) -> Path:
        """The folder of a page."""
        folder = self._folder / name.replace("/", "-")
        if not folder.exists():
            folder.mkdir(parents=True)
            for path in ROOT.iterdir():
                if path.name not in ("runs", "out", "build", ".git", ".venv"):
                    (folder / path.name).symlink_to(path)
        link = folder / ".venv"
        link.unlink(missing_ok=True)
        link.symlink_to(self.environment)
        return folder

    def run(self, commands: PageCommands, url: str) -> subprocess.CompletedProcess[str]:
        """Runs the commands but those that are left out. url: of the service that answers instead of the page's."""
        text = "\n".join(line for line in LOGICAL_LINE.findall(commands.text) if not reason_to_leave_out(line))
        for pattern, replacement in CHANGES.items():
            text = re.sub(pattern, replacement, text)
        folder = self.page(commands.page)
        path = f"{self.environment / 'bin'}:{os.environ['PATH']}"
        shipped = set(WEIGHTS_FOLDER.iterdir())
        with object_store(folder) if "s3://" in text else nullcontext({}) as variables:
            result = subprocess.run(
                ["bash", "-euc", text.replace(ADDRESS, url)], cwd=folder, capture_output=True, text=True, timeout=LONGEST_S,
                env=os.environ | {"PATH": path, "VIRTUAL_ENV": str(self.environment)} | variables, check=False,
            )  # fmt: skip
        for file in set(WEIGHTS_FOLDER.iterdir()) - shipped:  # beside the default weights, which both environments share
            shutil.move(file, folder / file.name)
        return result


def reason_to_leave_out(line: str) -> str | None:
    """Why a command is not run here; None if it is."""
    return next((reason for pattern, reason in LEFT_OUT.items() if re.search(pattern, line)), None)


def run_and_compare(commands: PageCommands, trial: Place, whole: Place, urls: tuple[str, str]) -> None:
    """Runs the commands in an environment and where everything is installed; raises `PageFailure` unless both write the same.

    An example may fail, but not for want of a package.
    """
    add_inputs(commands.text, (ROOT / commands.page).read_text(), whole.page(commands.page))
    for path in whole.page(commands.page).iterdir():
        target = trial.page(commands.page) / path.name
        if not target.exists():
            (shutil.copytree if path.is_dir() else shutil.copy)(path, target)
    before = written(trial.page(commands.page))
    result, reference = trial.run(commands, urls[0]), whole.run(commands, urls[1])
    output = f"{result.stdout}{result.stderr}".strip()[-3000:]
    if MISSING.search(output) or (commands.is_block and result.returncode):
        raise PageFailure(commands, f"exit status {result.returncode}\n{output}")
    if result.returncode != reference.returncode:
        theirs = reference.stderr.strip()[-3000:]
        raise PageFailure(commands, f"exit status {result.returncode}, and {reference.returncode} with everything\n{theirs}")
    ours, others = written(trial.page(commands.page)), written(whole.page(commands.page))
    if f"{TRAININGS}/" in commands.text:
        trial.of_trainings |= {(commands.page, name) for name in ours if ours[name] != before.get(name)}
    for name in set(ours) & set(others):
        if (commands.page, name) in trial.of_trainings:
            ours[name] = others[name]
    if different := [name for name in sorted({*ours, *others}) if ours.get(name) != others.get(name)]:
        raise PageFailure(commands, f"other files than where everything is installed: {', '.join(different)}")


def written(folder: Path) -> dict[str, object]:
    """The content of the files in a folder, by their names, without links and hidden ones, and without measured times.

    Of trainings the names alone count.
    """
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    names = {path: path.relative_to(folder) for path in paths}
    return {
        RUN_OF_TABLE.sub("", str(name)): None if name.parts[0] == TRAININGS else _content(path)
        for path, name in names.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def _content(path: Path) -> object:
    data = OF_RUN.sub(rb"\1", path.read_bytes()).replace(ACCEPTED, ACCEPTED_WITHOUT_EXTRAS)
    if path.suffix == ".parquet":
        return _without_times(parquet.read_table(path).to_pylist())
    if path.suffix == ".jsonl":
        return _without_times(map(json.loads, data.splitlines()))
    return data


def _without_times(rows: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
    return [{name: value for name, value in row.items() if name not in VOLATILE} for row in rows]
