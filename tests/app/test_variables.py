"""Variables of the environment and of a `.env` file: what is written is what is checked, or the service does not start."""

from __future__ import annotations

import os
import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest
from fastapi import FastAPI

from app import main as program
from app.main import main
from app.settings import Settings, read_settings
from app.variables import kubernetes_variables, use_temporary_folder
from tests.support.checkout import ROOT
from tests.support.disks import disk_for_files_of

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


def test_sagemaker_s_argument_sets_its_routes_and_its_port(
    settings_of_starts: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "8000")  # of the image
    assert main(["serve"]) == 0
    assert [(settings.platform, settings.port) for settings in settings_of_starts] == [("sagemaker", 8080)]


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
    assert kubernetes_variables(SERVICE) == sorted(SERVICE)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (SERVICE | {"SEGMENT_PORT": "81"}, {"port": 81}),
        # secrets of Kubernetes often end with the end of a line
        ({"SEGMENT_API_KEYS": "abc\n", "SEGMENT_CORS_ORIGINS": " * \n"}, {"api_keys": ("abc",), "cors_origins": ("*",)}),
    ],
)
def test_variables_beside_a_service_and_with_ends_of_lines_count(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: dict[str, object]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = read_settings()
    assert {name: getattr(settings, name) for name in expected} == expected


def test_variables_of_the_compose_file_and_the_pages_commands_are_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    snippets = (ROOT / "app" / "static" / "snippets.js").read_text()
    for name, text in (("SEGMENT_PUBLISHED_PORT", compose), ("SEGMENT_KEY", snippets)):
        assert name in text
        monkeypatch.setenv(name, "9000")
    assert read_settings().port == 8000


def test_keys_come_from_a_file_as_well(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b"\xef\xbb\xbf# of the first team\r\nalpha\r\n\r\n  beta  \n")
    settings = Settings(api_keys="gamma", api_keys_file=str(path))
    assert settings.read_api_keys() == ("gamma", "alpha", "beta")
    path.write_text("delta")
    assert settings.read_api_keys() == ("gamma", "delta")
    assert Settings().read_api_keys() == ()


def test_keys_are_told_nowhere(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("from-a-file")
    settings = Settings(api_keys="from-a-variable", api_keys_file=str(tmp_path / "keys"), tile="96")
    assert "from-a" not in f"{settings!r} {settings}"


READ = {
    "SEGMENT_API_KEYS=abc#def": ("abc#def",),
    "SEGMENT_API_KEYS='abc #def'": ("abc #def",),
    'SEGMENT_API_KEYS="abc #def"  # of the first team': ("abc #def",),
    "SEGMENT_API_KEYS = abc , def": ("abc", "def"),
    "export SEGMENT_API_KEYS=abc": ("abc",),
    "  segment_api_keys=abc  ": ("abc",),
    "'SEGMENT_API_KEYS'=abc": ("abc",),
    "SEGMENT_API_KEYS=abc\\n": ("abc\\n",),
    'SEGMENT_API_KEYS=a"b': ('a"b',),
    "SEGMENT_API_KEYS=abc\r": ("abc",),
    "\ufeffSEGMENT_API_KEYS=abc": ("abc",),
    "#SEGMENT_API_KEYS=old\nSEGMENT_API_KEYS=abc": ("abc",),
    "SEGMENT_PORT=81 # of the second instance\nSEGMENT_CORS_ORIGINS= # none\nSEGMENT_API_KEYS=abc": ("abc",),
    "OTHER=1\nOTHER=2\nsome.thing=3\nSEGMENT_API_KEYS=abc": ("abc",),
    'KEY_FILE_TEXT="one\ntwo"\nSEGMENT_API_KEYS=abc': ("abc",),
    "SEGMENT_API_KEYS=a=b": ("a=b",),
    "OTHER=beside\nSEGMENT_API_KEYS=pa${OTHER}ss": ("pa${OTHER}ss",),
    'SEGMENT_API_KEYS="${NOT_SET}"': ("${NOT_SET}",),
    "SEGMENT_API_KEYS='$SEGMENT_API_KEYS'": ("$SEGMENT_API_KEYS",),
}


@pytest.mark.parametrize(("text", "keys"), READ.items())
def test_what_is_written_is_what_is_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, keys: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTHER", "other")
    Path(".env").write_bytes(f"{text}\n".encode())
    assert read_settings().read_api_keys() == keys


def test_names_of_others_are_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEYS", "AUGMENT_API_KEYS", "SEGMENTATION_API_KEYS", "SEGMENTS_SERVICE_HOST"):
        monkeypatch.setenv(name, "zebra")
    assert read_settings().api_keys == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"'zebra'\n", "key 1 is not KEY"),
        (b"abc\x0czebra\n", "key 1 is not KEY"),
        (b"abc\xc2\x85zebra\n", "key 1 is not KEY"),
        (b" \n\t\n# zebra\n", "the file has no key"),
        (b"zebra \xff\xfe", "cannot be read"),
        (b"abc\nteam:  # zebra\n", "key 2 is not KEY"),
    ],
)
def test_a_line_of_a_file_of_keys_is_one_key(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(content)
    with pytest.raises(ValueError, match=words) as error_info:
        Settings(api_keys_file=str(tmp_path / "keys"))
    assert "zebra" not in str(error_info.value)
    (tmp_path / "keys").write_bytes(b"abc, #def\r\n  g h  \r\n")
    assert Settings(api_keys_file=str(tmp_path / "keys")).read_api_keys() == ("abc, #def", "g h")


def test_the_folder_for_temporary_files_is_an_absolute_path_that_child_processes_get(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "folder").mkdir()
    for name, has_room in (("folder", True), (f"{tmp_path}/folder/../folder", False)):
        monkeypatch.setenv("TMPDIR", name)
        with nullcontext() if has_room else disk_for_files_of(0):
            assert use_temporary_folder() == has_room
        assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(tmp_path / "folder")
    assert not list((tmp_path / "folder").iterdir())
