"""Variables of managed platforms: which settings they imply, and what beats them."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.health_check import ports
from app.settings import Settings, read_settings
from tests.support.app.vertex_ai import VARIABLES


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
