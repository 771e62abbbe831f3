"""The unit of `deploy/systemd`, read by systemd's own program, and the settings that it has."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from app.main import main
from app.settings import Settings
from tests.support.checkout import ROOT
from tests.support.deploy.files import DEPLOY
from tests.support.polling import HANG_S

UNIT = (DEPLOY / "systemd" / "fcn-segment@.service").read_text()


def test_the_unit_s_times_and_variables_are_those_of_the_settings() -> None:
    variables = dict(re.findall(r"SEGMENT_(\w+)=(\S+)", re.sub(r"(?m)^#.*$", "", UNIT)))
    settings = Settings()
    (stop,) = map(float, re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE))
    assert set(variables) <= {field.upper() for field in Settings.model_fields}
    assert f"StateDirectory={variables['JOBS_DIR'].removeprefix('%S/')}" in UNIT.splitlines()
    assert "%i" in variables["JOBS_DIR"]
    assert float(variables["LAME_DUCK_S"]) + settings.drain_s + 2 <= stop


def test_no_time_limits_how_long_an_instance_loads_and_compiles_its_network() -> None:
    lines = UNIT.splitlines()
    assert "Type=exec" in lines  # the unit has started once the program runs
    assert not [line for line in lines if line.startswith(("TimeoutSec", "TimeoutStartSec", "WatchdogSec", "RuntimeMaxSec"))]


@pytest.mark.long
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "fcn-segment@8001.service"
    unit.write_text(UNIT.replace("/opt/fcn-segment/bin/fcn-serve", "/bin/true"))
    result = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=HANG_S, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_an_instance_needs_a_file_of_keys_and_is_not_started_again_without() -> None:
    lines = UNIT.splitlines()
    assert "LoadCredential=keys:/etc/fcn-segment.keys" in lines  # without a `-` or `Set`: it has to be there
    assert "Environment=SEGMENT_API_KEYS_FILE=%d/keys" in lines
    assert "Restart=always" in lines
    (statuses,) = (line.partition("=")[2].split() for line in lines if line.startswith("RestartPreventExitStatus="))
    assert {"2", "CREDENTIALS", "EXEC"} <= set(statuses)  # EXEC: the program is missing


def test_the_page_installs_what_the_unit_starts_and_copies_files_that_are_there() -> None:
    (start,) = (line.partition("=")[2] for line in UNIT.splitlines() if line.startswith("ExecStart="))
    page = (ROOT / "docs" / "operate.md").read_text().partition("## Behind a load balancer")[2].partition("\n## ")[0]
    venv, pip, keys, unit, enable, _ = (shlex.split(line, comments=True) for line in re.findall(r"(?m)^ {4}(.+)$", page))
    folder, _, program = start.partition("/bin/")
    assert (venv[-2:], pip[:2], unit[0], enable[0]) == (["venv", folder], [f"{folder}/bin/pip", "install"], "cp", "systemctl")
    assert program in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert keys[-1] == re.findall(r"LoadCredential=keys:(.+)", UNIT)[0]
    assert (ROOT / unit[1]).read_text() == UNIT


def test_a_wrong_setting_ends_with_the_status_that_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENT_API_KEYS_FILE", "/nowhere/keys")
    assert main([]) == 2
