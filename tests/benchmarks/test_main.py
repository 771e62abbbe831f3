"""`fcn-bench`: what it refuses, and that each bench runs, checks its answers, and reports what it measured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.benches import gpu, page
from benchmarks.harness import load
from benchmarks.main import BENCHES, WITH_LOAD, main
from tests.support.checkout import ROOT
from tests.support.polling import LONGEST_S

# without those that need another checkout, a device, an environment
ALONE = [name for name in BENCHES if name not in ("former", "gpu", "peers") and not (name == "page" and page.missing())]


@pytest.mark.long
@pytest.mark.skipif(not load.available(), reason="wrk is not installed")
@pytest.mark.parametrize("name", ALONE)
def test_a_quick_run_reports_a_bench_with_machine_and_commit(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.main", name, "--quick", "--out", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    assert result.returncode == 0, result.stderr
    section = json.loads((tmp_path / "results" / f"{name}.json").read_text())
    text = (tmp_path / "RESULTS.md").read_text()
    assert f"## {section['title']}\n" in text
    assert re.search(r"; served with \w+ in \w+; commit \w+\.", text)
    assert re.search(r"^Python [\d.]+, openvino [\d.]+", section["versions"])
    assert section["ratios"]
    for row in section["rows"]:
        assert row["low"] <= row["median"] <= row["high"], row
    exact = [ratio for ratio in section["ratios"] if ratio["at_most"] == 0 or ratio["what"].startswith("agreement")]
    assert all(ratio["value"] >= (ratio["at_least"] or 0) for ratio in exact)
    assert all(ratio["value"] == 0 for ratio in exact if ratio["at_most"] == 0)


def test_what_cannot_run_here_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*words: str) -> str:
        assert main([*words, "--out", str(tmp_path)]) == 2
        assert not list(tmp_path.iterdir())
        return capsys.readouterr().err

    assert f"no bench speed; there are {', '.join(BENCHES)}" in refusal("speed")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        patch.setenv("PLAYWRIGHT_BROWSERS_PATH", "/nowhere")
        assert "page needs Playwright and Chromium" in refusal("page")
        for name in WITH_LOAD:
            assert "apt install wrk" in refusal(name)
    monkeypatch.setattr(load.shutil, "which", lambda name: name)
    assert "--peers PYTHON" in refusal("peers")
    assert "--former FOLDER" in refusal("former")
    for option in ("--peers", "--former"):
        assert f"{option} is for the bench" in refusal("startup", option, "nowhere")
    if gpu.missing():
        assert "gpu needs an NVIDIA GPU that PyTorch sees" in refusal("startup", "gpu")


@pytest.mark.cuda
@pytest.mark.skipif(gpu.missing() is not None, reason="there is no GPU")
def test_the_gpu_is_measured() -> None:
    section = gpu.run(quick=True)
    agreement = next(ratio.value for ratio in section.ratios if ratio.what.startswith("agreement"))
    assert agreement > 0.98
