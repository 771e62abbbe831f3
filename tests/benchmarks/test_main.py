"""`fcn-bench`: what it refuses, and that each bench runs, checks its answers, and reports what it measured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
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


def test_an_unknown_bench_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed"]) == 2
    assert f"no bench speed; there are {', '.join(BENCHES)}" in capsys.readouterr().err


def test_without_the_load_generator_its_name_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for name in WITH_LOAD:
        assert main([name]) == 2
        assert "apt install wrk" in capsys.readouterr().err


def test_peers_need_an_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(load.shutil, "which", lambda name: name)
    assert main(["peers"]) == 2
    assert "--peers PYTHON" in capsys.readouterr().err


def test_a_former_service_needs_its_checkout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(load.shutil, "which", lambda name: name)
    assert main(["former"]) == 2
    assert "--former FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--peers", "--former"])
def test_an_option_of_another_bench_is_refused(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(load.shutil, "which", lambda name: name)
    assert main(["startup", option, "nowhere"]) == 2
    assert f"{option} is for the bench" in capsys.readouterr().err


def test_without_a_browser_the_page_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    assert main(["page"]) == 2
    assert "page needs Playwright and Chromium" in capsys.readouterr().err


@pytest.mark.skipif(gpu.missing() is None, reason="there is a GPU")
def test_without_a_gpu_its_bench_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(load.shutil, "which", lambda name: name)
    assert main(["startup", "gpu", "--out", str(tmp_path)]) == 2
    assert "gpu needs an NVIDIA GPU that PyTorch sees" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.cuda
@pytest.mark.skipif(gpu.missing() is not None, reason="there is no GPU")
def test_the_gpu_is_measured() -> None:
    section = gpu.run(quick=True)
    agreement = next(ratio.value for ratio in section.ratios if ratio.what.startswith("agreement"))
    assert agreement > 0.98


def test_what_is_installed_knows_no_benches() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert "benchmarks" not in packages
    assert not [target for target in project["project"]["scripts"].values() if target.startswith("benchmarks")]
    sources = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    assert len(sources) > 50
    assert not [path for path in sources if re.search(r"^\s*(from|import) benchmarks\b", path.read_text(), re.MULTILINE)]
    (target,) = tomllib.loads((ROOT / "benchmarks" / "pyproject.toml").read_text())["project"]["scripts"].values()
    assert target == f"{main.__module__}:{main.__name__}"
