"""`fcn-label-studio`: its arguments, and that it serves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fcn_client.label_studio.command import main

from benchmarks.harness.serving import free_port, start_server
from tests.support.polling import HANG_S
from tests.support.variants import long


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--port", "x"], {}, "argument --port: invalid int value: 'x'"),
        (["--service", "ftp://host"], {}, "base_url must be an address such as"),
        (["--aliases", "cat"], {}, "aliases are CLASS=LABEL with commas between"),
        ([], {"LABEL_STUDIO_API_KEY": "key"}, "LABEL_STUDIO_API_KEY needs LABEL_STUDIO_URL"),
        ([], {"BASIC_AUTH_PASS": "secret"}, "BASIC_AUTH_USER and BASIC_AUTH_PASS must both have a value"),
        ([], {"BASIC_AUTH_USER": "studio"}, "BASIC_AUTH_USER and BASIC_AUTH_PASS must both have a value"),
        ([], {"BASIC_AUTH_USER": "a:b", "BASIC_AUTH_PASS": "secret"}, "the user without a colon"),
        ([], {"BASIC_AUTH_USER": "", "BASIC_AUTH_PASS": "secret"}, "BASIC_AUTH_USER is set and empty"),
        ([], {"BASIC_AUTH_USER": "", "BASIC_AUTH_PASS": ""}, "BASIC_AUTH_USER is set and empty"),
        ([], {"LABEL_STUDIO_URL": "studio"}, "LABEL_STUDIO_URL must be an address such as http://127.0.0.1:8080, got 'studio'"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    arguments: list[str],
    environment: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "BASIC_AUTH_USER", "BASIC_AUTH_PASS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    try:
        status: object = main(arguments)
    except SystemExit as end:
        status = end.code
    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2
    assert message in line


def test_it_serves_and_says_where(tmp_path: Path) -> None:
    port = free_port()
    command = (sys.executable, "-c", "import sys; from fcn_client.label_studio.command import main; sys.exit(main())")
    log = tmp_path / "log"
    with start_server((*command, "--port", str(port)), port, "/health", log=log):
        assert f"give Label Studio http://127.0.0.1:{port} as a model's URL" in log.read_text()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "'./client[label-studio]'"),
        (["--help"], 0, "usage: fcn-label-studio"),
        *long((["--version"], 0, "fcn-label-studio ")),
    ],
)
def test_without_the_extra_a_line_says_so_and_help_and_version_work(arguments: list[str], status: int, words: str) -> None:
    lacks = "import sys; sys.modules |= dict.fromkeys(['uvicorn', 'starlette', 'scipy', 'defusedxml'])"
    code = f"{lacks}; from fcn_client.label_studio.command import main; sys.exit(main({arguments}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_S)
    assert (run.returncode, run.stderr.count("\n")) == (status, bool(status))
    assert words in run.stdout + run.stderr
