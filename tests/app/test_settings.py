"""Settings: their source, their checks, and the README's table of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.main import main, parser
from app.settings import PREFIX, Settings
from model.weights_file import DEFAULT_WEIGHTS

README = Path(__file__).parents[2] / "README.md"
DESIGN = (
    "HOST PORT ROOT_PATH WEIGHTS DEVICE DTYPE TILE OVERLAP BLEND MAX_BATCH_TILES BATCH_WAIT_MS MAX_QUEUED_TILES MAX_UPLOAD_MB "
    "MAX_MEGAPIXELS UPLOAD_TIMEOUT_S REQUEST_TIMEOUT_S DRAIN_S API_KEYS CORS_ORIGINS LOG_FORMAT LOG_LEVEL THREADS"
)

BESIDE = "MAX_BATCH_MB CUDA_GRAPHS"


def test_every_setting_of_the_contract_is_there() -> None:
    assert {name.lower() for name in (DESIGN + " " + BESIDE).split()} == set(Settings.model_fields)


def test_the_environment_and_a_dotenv_file_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, narrow_file: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("SEGMENT_PORT=81\nSEGMENT_TILE=384x480\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("SEGMENT_PORT", "82")
    monkeypatch.setenv("SEGMENT_WEIGHTS", str(narrow_file))
    monkeypatch.setenv("SEGMENT_API_KEYS", "a, b,")
    settings = Settings()
    assert (settings.port, settings.tile_size, settings.api_keys) == (82, (384, 480), ("a", "b"))


def test_a_wrong_value_names_what_was_expected(narrow_file: Path) -> None:
    with pytest.raises(ValidationError, match="tile must be a multiple of 32, got 500"):
        Settings(_env_file=None, weights=str(narrow_file), tile="500")
    with pytest.raises(ValidationError, match=DEFAULT_WEIGHTS):
        Settings(_env_file=None, weights="nothing")


def test_the_readmes_table_is_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = re.findall(rf"^\| `{PREFIX}(\w+)` \| (.*?) \| (.*?) \|$", README.read_text(), re.MULTILINE)
    told = {name.lower(): (default.strip("`"), text) for name, default, text in rows}
    assert set(told) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        default = "" if field.default in ("", ()) else str(field.default)
        assert told[name] == (default, field.description), name


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(f"{PREFIX}{name.upper()}" in text for name in Settings.model_fields)
    assert parser().prog == "fcn-serve"
