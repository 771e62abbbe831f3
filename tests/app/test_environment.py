"""Variables that are no settings, keys in files, and what is never told."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI

from app import main as program
from app.environment import UnknownSetting
from app.main import main
from app.settings import Settings, ignored_variables
from tests.support.checkout import ROOT

SERVICE = {
    "SEGMENT_PORT": "tcp://10.0.0.1:80",
    "SEGMENT_SERVICE_HOST": "10.0.0.1",
    "SEGMENT_SERVICE_PORT": "80",
    "SEGMENT_SERVICE_PORT_HTTP": "80",
    "SEGMENT_PORT_80_TCP": "tcp://10.0.0.1:80",
    "SEGMENT_PORT_80_TCP_PROTO": "tcp",
    "SEGMENT_PORT_80_TCP_PORT": "80",
    "SEGMENT_PORT_80_TCP_ADDR": "10.0.0.1",
    "SEGMENT_GPU_SERVICE_HOST": "10.0.0.2",
    "SEGMENT_GPU_PORT": "tcp://10.0.0.2:80",
}
DIGEST = "ab" * 32


@pytest.fixture(autouse=True)
def settings_of_starts(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings of each service that was started; none is in truth."""
    settings: list[Settings] = []

    def start(app: FastAPI) -> int:
        settings.append(app.state.service.settings)
        return 0

    monkeypatch.setattr(program, "serve", start)
    monkeypatch.setattr(program, "configure_logging", lambda *_: None)  # it is for the whole process
    return settings


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SEGMENT_API_KEY", "did you mean SEGMENT_API_KEYS?"),
        ("segment_treads", "did you mean SEGMENT_THREADS?"),
        ("SEGMENT_DTYPE", "this setting is gone; SEGMENT_PRECISION is its successor"),
        ("SEGMENT_CUDA_GRAPHS", "this setting is gone; remove it"),
        ("SEGMENT_BATCH_WAIT_MS", "this setting is gone; remove it"),
        ("SEGMENT_ZZZZ", "there is no such setting; remove it"),
    ],
)
@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_variable_that_is_no_setting_stops_the_start(
    place: str, name: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if place == "file":
        (tmp_path / ".env").write_text(f"{name}=kept-to-itself\n")
    else:
        monkeypatch.setenv(name, "kept-to-itself")
    assert main([]) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith(f"fcn-serve: {name.upper()}: ")
    assert words in stderr
    assert "kept-to-itself" not in stderr


def test_every_variable_that_is_no_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENT_API_KEY", "a")
    monkeypatch.setenv("SEGMENT_TILES", "a")
    with pytest.raises(UnknownSetting, match=r"^SEGMENT_API_KEY: .*\nSEGMENT_TILES: .*SEGMENT_TILE\?"):
        Settings(_env_file=None)


def test_variables_of_kubernetes_are_ignored_with_a_warning(
    settings_of_starts: list[Settings], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in SERVICE.items():
        monkeypatch.setenv(name, value)
    assert main([]) == 0
    assert [settings.port for settings in settings_of_starts] == [8000]
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "the port is 8000" in record.getMessage()
    assert all(name in record.getMessage() for name in SERVICE)
    assert ignored_variables() == sorted(SERVICE)


def test_a_port_that_is_set_beside_a_service_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (SERVICE | {"SEGMENT_PORT": "81"}).items():
        monkeypatch.setenv(name, value)
    assert Settings(_env_file=None).port == 81
    assert "SEGMENT_PORT" not in ignored_variables()


def test_variables_of_the_compose_file_and_the_pages_commands_are_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    snippets = (ROOT / "app" / "static" / "snippets.js").read_text()
    for name, text in (("SEGMENT_PUBLISHED_PORT", compose), ("SEGMENT_KEY", snippets)):
        assert name in text
        monkeypatch.setenv(name, "9000")
    assert Settings(_env_file=None).port == 8000


def test_keys_come_from_a_file_as_well(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b"\xef\xbb\xbf# of the first team\r\nalpha\r\n\r\n  beta  \n")
    settings = Settings(_env_file=None, api_keys="gamma", api_keys_file=str(path))
    assert settings.read_api_keys() == ("gamma", "alpha", "beta")
    path.write_text("delta")
    assert settings.read_api_keys() == ("gamma", "delta")
    assert Settings(_env_file=None, api_keys_file="").read_api_keys() == ()


FILES_WITHOUT_KEYS = {"missing": None, "empty": b"", "comments": b"# none\n\n", "not UTF-8": b"\xff\xfe", "é": "é".encode()}


@pytest.mark.parametrize("content", FILES_WITHOUT_KEYS.values(), ids=FILES_WITHOUT_KEYS)
def test_a_file_without_keys_stops_the_start(
    content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("SEGMENT_API_KEYS_FILE", str(path))
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("fcn-serve: SEGMENT_API_KEYS_FILE: ")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"API_KEYS": ","}, "SEGMENT_API_KEYS: nothing stands between its commas"),
        ({"API_KEYS": "fine,s\u00e9same"}, "SEGMENT_API_KEYS: key 2 has characters that no header carries"),
        ({"PROTECT_ALL": "true"}, "SEGMENT_PROTECT_ALL: there is no key to ask for"),
        ({"WEIGHTS_SHA256": "abc"}, "SEGMENT_WEIGHTS_SHA256: each must be 64 hexadecimal digits"),
        ({"WEIGHTS_SHA256": f"{DIGEST},{DIGEST}"}, "one for each of the 1 weights files, got 2"),
        ({"TILE": "5" * 3000}, "SEGMENT_TILE"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_protects_nothing_stops_the_start(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"SEGMENT_{name}", value)
    assert main([]) == 2
    stderr = capsys.readouterr().err
    assert words in stderr
    assert "same" not in stderr


def test_keys_are_told_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "keys").write_text("from-a-file")
    settings = Settings(_env_file=None, api_keys="from-a-variable", api_keys_file=str(tmp_path / "keys"), tile="96")
    assert "from-a" not in f"{settings!r} {settings}"
    monkeypatch.setenv("SEGMENT_API_KEYS", "from-a-variable")
    monkeypatch.setenv("SEGMENT_TILE", "31")
    assert main([]) == 2
    assert "from-a" not in capsys.readouterr().err


@pytest.mark.parametrize("content", ['SEGMENT_API_KEYS="abc\n', "a line without a sign\nSEGMENT_PORT=81\n"])
def test_a_line_of_the_file_that_cannot_be_read_stops_the_start(
    content: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    settings_of_starts: list[Settings],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It may be the one with the keys."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(content)
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fcn-serve: .env: python-dotenv could not parse statement starting at line 1")
    assert "abc" not in line
    assert not settings_of_starts


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_no_file_and_has_its_name_stops_the_start(
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    settings_of_starts: list[Settings],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if kind == "folder":
        (tmp_path / ".env").mkdir()
    else:
        (tmp_path / ".env").symlink_to("nowhere")
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fcn-serve: .env cannot be read: it is a ")
    assert not settings_of_starts
