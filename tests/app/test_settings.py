"""Settings: their source, their checks, and the operating page's table of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.main import default, main, parser
from app.settings import PREFIX, Settings, read_settings
from app.variables import SettingsError
from model.inference.cores import available_cores
from model.weights_file import DEFAULT_WEIGHTS
from tests.support.checkout import ROOT

DIGEST = "ab" * 32
TIMES = ("REQUEST_TIMEOUT_S", "UPLOAD_TIMEOUT_S", "LAME_DUCK_S", "DRAIN_S")


def test_the_environment_and_a_dotenv_file_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, narrow_file: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("SEGMENT_PORT=81\nSEGMENT_TILE=384x480\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("SEGMENT_PORT", "82")
    monkeypatch.setenv("SEGMENT_WEIGHTS", f"{narrow_file}, {DEFAULT_WEIGHTS}")
    monkeypatch.setenv("SEGMENT_API_KEYS", "a, b,")
    monkeypatch.setenv("SEGMENT_DEVICE", "cuda:0,cuda:1")
    settings = read_settings()
    assert (settings.port, settings.tile, settings.api_keys) == (82, (384, 480), ("a", "b"))
    assert settings.weights == (str(narrow_file), DEFAULT_WEIGHTS)
    assert settings.device == ("cuda:0", "cuda:1")


def test_threads_are_one_a_core_unless_set() -> None:
    assert Settings(threads=3).cpu_threads == 3
    assert Settings().cpu_threads == available_cores()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        *((name, "1", "SEGMENT_JOBS_DIR") for name in ("JOB_UPLOAD_MB", "JOBS_MB", "JOBS_DAYS")),
        ("TILE", "500", "tile must be a multiple of 32, got 500"),
        ("TILE", "1000000", "must be at most 4096"),
        ("PORT", "http", "SEGMENT_PORT"),
        ("WEIGHTS", "nothing", "no weights file 'nothing'"),
        ("RUNTIME", "tensorflow", "should be 'auto', 'openvino', 'torch' or 'onnxruntime', got 'tensorflow'"),
        ("DEVICE", "tpu", "must be auto, cpu, cuda, cuda:N or mps"),
        ("DEVICE", "cpu,cuda", "several of one kind"),
        ("OVERLAP", "0.7", "SEGMENT_OVERLAP"),
        ("MAX_UPLOAD_MB", "inf", "SEGMENT_MAX_UPLOAD_MB"),
        *((name, "0", "greater than or equal to 0.001") for name in ("MAX_UPLOAD_MB", "MAX_BATCH_MB")),
        *((name, "0", "greater than or equal to 0.01, got") for name in ("REQUEST_TIMEOUT_S", "UPLOAD_TIMEOUT_S")),
        *((name, "1e300", "less than or equal to 86400, got") for name in TIMES),
        ("WEIGHTS", " , ", "is empty"),
        ("CORS_ORIGINS", "https://example.com, localhost:3000", "such as https://example.com"),
        ("CORS_ORIGINS", "https://example.com/app", "without a path"),
        ("CORS_ORIGINS", "https://*.example.com", "such as https://example.com"),
        ("CORS_ORIGINS", "https://example.com:99999", "such as https://example.com"),
        ("CORS_ORIGINS", "https://b\u00fccher.example", "such as https://example.com"),
        ("ROOT_PATH", "https://example.com/seg", "must be a path such as /predict"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, proxy.example.com", "does not appear to be an IPv4 or IPv6 network"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "host bits"),
        ("API_KEYS", ",", "is empty"),
        ("API_KEYS", "fine,z\u00e9bra", "key 2 is not KEY or NAME:KEY"),
        ("API_KEYS", "'zebra,b'", "key 1 is not KEY"),
        ("PROTECT_ALL", "true", "there is no key to ask for"),
        ("WEIGHTS_SHA256", "abc", "each must be 64 hexadecimal digits"),
        ("WEIGHTS_SHA256", f"{DIGEST},{DIGEST}", "there must be one for each of the 1 weights files, got 2"),
        ("TILE", "5" * 3000, ""),
    ],
    ids=lambda value: value[:20],
)
def test_a_wrong_value_stops_the_start_with_a_clear_message(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"SEGMENT_{name}", value)
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fcn-serve: SEGMENT_{name}: ")
    assert words in line
    assert "bra" not in line


def test_settings_are_read_once_and_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_the_table_of_the_operating_page_is_the_class() -> None:
    rows = re.findall(rf"^\| `{PREFIX}(\w+)` \| (.*?) \| (.*?) \|$", (ROOT / "docs" / "operate.md").read_text(), re.MULTILINE)
    rows_of = {name.lower(): (default.strip("`"), text) for name, default, text in rows}
    assert set(rows_of) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        assert rows_of[name] == (default(field.default), " ".join(str(field.description).split())), name


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(f"{PREFIX}{name.upper()}" in text for name in Settings.model_fields)
    assert parser().prog == "fcn-serve"


@pytest.mark.parametrize(
    ("memory", "expected"),
    [(2 << 30, (3 << 29) - (350 << 20)), (512 << 20, 256 << 20), (None, 256 << 20), (1 << 40, (3 << 38) - (350 << 20))],
)
def test_the_memory_of_requests_is_three_quarters_of_what_there_is_less_the_network_s(
    monkeypatch: pytest.MonkeyPatch, memory: int | None, expected: int
) -> None:
    monkeypatch.setattr("app.settings.available_memory", lambda: memory)
    assert Settings().memory_bytes == expected
    assert Settings(memory_mb=700).memory_bytes == 700_000_000


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("https://example.com/", ("https://example.com",)),
        ("HTTPS://Example.com:443/, http://a:80", ("https://example.com", "http://a")),
        ("http://localhost:3000,http://[::1]:8080/", ("http://localhost:3000", "http://[::1]:8080")),
        ("http://127.0.0.1:443", ("http://127.0.0.1:443",)),
        ("*", ("*",)),
        ("null", ("null",)),
        ("capacitor://localhost", ("capacitor://localhost",)),
        ("", ()),
    ],
)
def test_origins_are_those_that_browsers_send(value: str, origins: tuple[str, ...]) -> None:
    assert Settings(cors_origins=value).cors_origins == origins


@pytest.mark.parametrize(("value", "path"), [("seg", "/seg"), ("/seg/", "/seg"), ("/a/b", "/a/b"), ("/", ""), ("", "")])
def test_a_root_path_begins_with_a_slash_and_ends_without(value: str, path: str) -> None:
    assert Settings(root_path=value).root_path == path


NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (Path.mkdir, ".env cannot be read: "),
    "link": (lambda path: path.symlink_to("nowhere"), ".env cannot be read: "),
    "Latin-1": (lambda path: path.write_bytes(b"# Gr\xf6\xdfe\n"), ".env cannot be read: it is not UTF-8"),
    "byte order mark": (lambda path: path.write_bytes(b"\xef\xbb\xbfSEGMENT_PORT=http\n"), "SEGMENT_PORT: "),
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_a_dotenv_file_that_cannot_be_read_is_a_line(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write, words = NO_FILES[kind]
    write(tmp_path / ".env")
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fcn-serve: {words}")


def test_wrong_arguments_are_one_line_and_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--port", "80"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fcn-serve: unrecognized arguments: --port 80")
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert re.fullmatch(r"fcn-serve \S+\n", capsys.readouterr().out)


def test_jobs_have_room_for_one_upload(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SEGMENT_JOBS_MB: must be at least SEGMENT_JOB_UPLOAD_MB, which is 16384"):
        read_settings(jobs_dir=tmp_path, jobs_mb=16_383)
    assert read_settings(jobs_dir=tmp_path, job_upload_mb=9, jobs_mb=9, jobs_days=1).jobs_mb == 9
