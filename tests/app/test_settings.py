"""Settings: their source, also the variables of managed platforms, and the operating page's table of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.health_check import ports
from app.main import default, main, parser
from app.settings import PREFIX, Settings, read_settings
from model.inference.cores import available_cores
from model.weights_file import DEFAULT_WEIGHTS
from tests.support.checkout import ROOT

VARIABLES = {
    "AIP_HTTP_PORT": "8080",
    "AIP_HEALTH_ROUTE": "/v1/endpoints/12/deployedModels/34",
    "AIP_PREDICT_ROUTE": "/v1/endpoints/12/deployedModels/34:predict",
    "AIP_STORAGE_URI": "",
    "AIP_MODE": "PREDICTION",
}
"""Those that Vertex AI sets in a container, with the paths that it chooses where a model names none."""


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


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variables of a platform, and no `.env`."""
    monkeypatch.chdir(tmp_path)
    for name in ("PORT", "SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_BATCH", *VARIABLES):
        monkeypatch.delenv(name, raising=False)


def settings_with(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return read_settings()


@pytest.mark.parametrize(
    ("variables", "platform", "port"),
    [
        ({}, "none", 8000),
        ({"PORT": "8081"}, "none", 8081),
        ({"PORT": ""}, "none", 8000),
        ({"PORT": "8081", "SEGMENT_PORT": "tcp://10.0.0.1:80"}, "none", 8081),
        ({"SAGEMAKER_BIND_TO_PORT": "9000"}, "sagemaker", 9000),
        ({"SAGEMAKER_BATCH": "true", "PORT": "8000"}, "sagemaker", 8080),
        ({"SEGMENT_PLATFORM": "sagemaker", "PORT": "8000"}, "sagemaker", 8080),
        ({"SEGMENT_PLATFORM": "none", "SAGEMAKER_BIND_TO_PORT": "9000"}, "none", 8000),
        (VARIABLES | {"PORT": "8000"}, "vertex_ai", 8080),
        ({"AIP_PREDICT_ROUTE": "/predict", "PORT": "8081"}, "vertex_ai", 8081),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else str(value),
)
@pytest.mark.parametrize("own_port", [None, "7000"])
def test_variables_imply_the_platform_and_the_port_unless_it_is_set(
    variables: dict[str, str], platform: str, port: int, own_port: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"SEGMENT_PORT": own_port} if own_port else {}
    settings = settings_with(monkeypatch, variables | own)
    assert (settings.platform, settings.port) == (platform, int(own_port or port))
    assert ports(variables | own)[0] == str(settings.port)


def test_the_health_check_asks_sagemaker_s_port_too_since_it_sees_no_argument() -> None:
    assert ports({"PORT": "8000"}) == ["8000", "8080"]
    assert ports({"segment_port": "81"}) == ["81"]


def test_the_port_in_the_env_file_beats_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("SEGMENT_PORT=7000\n")
    assert settings_with(monkeypatch, {"PORT": "8081"}).port == 7000


def test_vertex_ais_variables_give_its_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_with(monkeypatch, VARIABLES)
    assert settings.vertex_health_route == VARIABLES["AIP_HEALTH_ROUTE"]
    assert settings.vertex_predict_route == VARIABLES["AIP_PREDICT_ROUTE"]
