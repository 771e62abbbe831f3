"""The harness: every bench runs, checks its answers, and reports what it measured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import load
from benchmarks.load import Sample
from benchmarks.main import BENCHES, WITH_LOAD, main
from tests.conftest import ROOT, encoded, make_photo

needs_wrk = pytest.mark.skipif(not load.available(), reason="wrk is not installed")
# those that need no GPU and no other framework; `peers` measures those that are installed, which the tutorial's always is
RUN = [name for name in BENCHES if name not in ("gpu", "lent")]


@needs_wrk
@pytest.mark.timeout(1200)
def test_a_quick_run_reports_every_bench_with_machine_and_commit(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; from cli.bench import main; sys.exit(main())"]
    result = subprocess.run(
        [*command, "--quick", "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=1180
    )
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "RESULTS.md").read_text()
    assert {path.stem for path in (tmp_path / "results").glob("*.json")} == set(RUN)
    assert text.count("\n## ") == len(RUN)
    assert len(re.findall(r"; commit \w+; Python [\d.]+, torch", text)) == len(RUN)
    for chart in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (tmp_path / chart).stat().st_size > 5000
    for path in (tmp_path / "results").glob("*.json"):
        section = json.loads(path.read_text())
        assert section["rows"], path
        assert section["ratios"], path
        for row in section["rows"]:
            assert row["low"] <= row["median"] <= row["high"], row


def test_an_unknown_bench_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed"]) == 2
    assert "no bench speed; there are corridor, backends, codecs, served," in capsys.readouterr().err


def test_without_the_load_generator_its_name_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for name in WITH_LOAD:
        assert main([name]) == 2
        assert "apt install wrk" in capsys.readouterr().err


@needs_wrk
def test_a_load_tells_right_answers_from_wrong_ones_and_refusals(live_url: str) -> None:
    photos = [encoded(make_photo(40, 60, seed), "JPEG") for seed in range(2)]
    right = subprocess.run(
        [sys.executable, "-m", "cli.main", "-", "-o", "-"], cwd=ROOT, input=photos[0], capture_output=True, check=True
    ).stdout
    found = load.load(
        live_url,
        [Sample(photos[0], right), Sample(photos[1], b"another mask"), Sample(b"no image", None)],
        connections=2,
        seconds=1,
    )
    by_index = {index: {(a.status, a.right) for a in found.answers if a.index == index} for index in range(3)}
    assert by_index == {0: {(200, True)}, 1: {(200, False)}, 2: {(415, False)}}
    assert found.good == len(found.milliseconds(200, [0]))
    assert found.wrong == len(found.milliseconds(200, [1]))
    assert min(found.milliseconds()) > 0
    assert found.cpu_seconds > 0
