"""`fcn-bulk` on a cluster of two nodes: outcomes, a node that is killed, and runs with and without Ray that go on."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from benchmarks.harness.hostile import hostile
from cluster.bulk import main
from tests.support.checkout import ROOT
from tests.support.cli.commands import environment
from tests.support.cli.folders import files_in, write_files
from tests.support.images import encode, make_photo
from tests.support.polling import LONGEST_S, wait_until

DAMAGED = encode(make_photo(64, 64), "JPEG")[:700]
HOSTILE = ("gif of a huge screen", "tiff of many fax rows")
Start = Callable[..., "subprocess.Popen[str]"]


def photos(folder: Path, count: int) -> Path:
    """This number of images: five are damaged and two are hostile, the others are photographs of a few sizes."""
    good = count - 5 - len(HOSTILE)
    files = {f"{index:04}.jpg": encode(make_photo(40 + index % 7, 60, seed=index % 5), "JPEG") for index in range(good)}
    files |= {f"damaged-{index}.jpg": DAMAGED for index in range(5)}
    files |= {f"hostile-{index}.png": hostile(kind) for index, kind in enumerate(HOSTILE)}
    return write_files(folder, files)


@pytest.fixture
def start(narrow_file: Path) -> Start:
    """Starts the command `bulk` or `segment` with the narrow network, in this folder."""

    def start(command: str, *arguments: object, folder: Path = ROOT) -> subprocess.Popen[str]:
        code = f"import sys; from cli.start import {command}; sys.exit({command}())"
        options = ["--weights", str(narrow_file), "--device", "cpu", "--precision", "float32"]
        words = [sys.executable, "-c", code, *options, *map(str, arguments)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment())

    return start


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The command's exit status and what it wrote to stderr."""
    _, errors = process.communicate(timeout=LONGEST_S)
    return process.returncode, errors


def rows(table: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in table.read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_in(folder)}


@pytest.mark.long
def test_a_cluster_gives_the_answers_and_the_table_of_the_command_line(cluster: Cluster, start: Start, tmp_path: Path) -> None:
    folder = photos(tmp_path / "in", 20)
    for command, out in (("segment", "alone"), ("bulk", "cluster")):
        address = ["--address", cluster.address] if command == "bulk" else []
        arguments = [folder, "-o", tmp_path / out, "--results", tmp_path / f"{out}.jsonl", *address]
        status, errors = ended(start(command, *arguments))
        assert (status, errors.count("damaged-")) == (3, 5), errors
    assert len(contents(tmp_path / "cluster")) == 13
    assert contents(tmp_path / "cluster") == contents(tmp_path / "alone")
    tables = [sorted(rows(tmp_path / f"{out}.jsonl"), key=lambda row: str(row["name"])) for out in ("alone", "cluster")]
    for alone, on_cluster in zip(*tables, strict=True):
        varying = ("milliseconds", "target", "problem")
        assert {k: v for k, v in alone.items() if k not in varying} == {k: v for k, v in on_cluster.items() if k not in varying}
        assert bool(alone["problem"]) == bool(on_cluster["problem"])
    status, errors = ended(start("segment", folder, "-o", tmp_path / "cluster", "--resume"))
    assert (status, "13 skipped" in errors) == (3, True), "fcn-segment goes on where fcn-bulk has ended"


@pytest.mark.long
def test_relative_names_are_those_of_the_folder_of_the_command(
    cluster: Cluster, start: Start, narrow_file: Path, tmp_path: Path
) -> None:
    photos(tmp_path / "in", 9)
    shutil.copy(narrow_file, tmp_path / "network.safetensors")
    (tmp_path / "names").write_text("in/0000.jpg\nin/0001.jpg\n")
    arguments = ["--from-file", "names", "-o", "out", "--results", "table.jsonl", "--address", cluster.address]
    arguments += ["--weights", "network.safetensors"]
    status, errors = ended(start("bulk", *arguments, folder=tmp_path))
    assert (status, files_in(tmp_path / "out")) == (0, ["in/0000.png", "in/0001.png"]), errors
    assert {row["name"] for row in rows(tmp_path / "table.jsonl")} == {f"{tmp_path}/in/000{index}.jpg" for index in (0, 1)}
    status, errors = ended(start("bulk", "in", "-o", "out2", "--address", cluster.address, folder=tmp_path))
    assert (status, files_in(tmp_path / "out2")) == (3, ["0000.png", "0001.png"]), errors


@pytest.mark.parametrize("arguments", [["-", "-o", "out"], ["in", "-o", "-"]])
def test_stdin_and_stdout_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert (errors.count("\n"), "- is not for a cluster" in errors) == (1, True), errors


@pytest.mark.long
def test_what_a_cluster_cannot_do_is_one_line(cluster: Cluster, start: Start, tmp_path: Path) -> None:
    folder = photos(tmp_path / "in", 8)
    for arguments, words in (
        (["--address", "127.0.0.1:1"], "127.0.0.1:1"),
        (["--address", cluster.address, "--weights", "no-such-weights"], "no-such-weights"),
        (["--address", cluster.address, "--format", "color", "--classes", "unicorn"], "unicorn"),
    ):
        status, errors = ended(start("bulk", folder, "-o", tmp_path / "out", *arguments))
        lines = [line for line in errors.splitlines() if line.startswith("fcn-bulk:")]
        assert (status, len(lines)) == (2, 1), errors
        assert words in lines[0]


@pytest.mark.long
def test_a_job_waits_for_a_node_on_which_an_actor_fits(cluster: Cluster, start: Start, tmp_path: Path) -> None:
    folder = photos(tmp_path / "in", 8)
    job = start("bulk", folder, "-o", tmp_path / "out", "--address", cluster.address, "--cpus", 2)
    assert job.stderr is not None
    assert any("no node has 2 CPUs" in line for line in iter(job.stderr.readline, ""))
    cluster.add_node(num_cpus=2)
    assert ended(job)[0] == 3
    assert len(contents(tmp_path / "out")) == 1


@pytest.mark.long
@pytest.mark.parametrize("killed", ["a node", "the driver"])
def test_a_job_that_is_killed_is_completed_by_the_next_one(killed: str, cluster: Cluster, start: Start, tmp_path: Path) -> None:
    folder, out, table = photos(tmp_path / "in", 200), tmp_path / "out", tmp_path / "results.jsonl"
    arguments = [folder, "-o", out, "--results", table, "--resume", "--address", cluster.address, "--min-actors", 2]
    first = start("bulk", *arguments)
    wait_until(lambda: table.exists() and table.read_bytes().count(b"\n") > 30)
    if killed == "a node":
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        status, errors = ended(first)
        assert status in (2, 3), errors
    else:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    status, errors = ended(start("bulk", *[1 if each == 2 else each for each in arguments]))
    assert status == 3, errors
    status, errors = ended(start("segment", folder, "-o", tmp_path / "alone"))
    assert contents(out) == contents(tmp_path / "alone")
    latest = {row["name"]: row for row in rows(table)}
    assert len(latest) == 200
    assert sum(bool(row["problem"]) for row in latest.values()) == 5 + len(HOSTILE)
