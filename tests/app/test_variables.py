"""Variables of the environment and of a `.env` file: what is written is what is checked, or the service does not start."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI

from app import main as program
from app.main import main
from app.settings import Settings, read_settings
from app.variables import SettingsError, kubernetes_variables, read_env_file
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
PROTECTIONS = ("API_KEYS", "API_KEYS_FILE", "WEIGHTS_SHA256", "PROTECT_ALL", "HOST")


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


@pytest.fixture
def env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTHER", "other")
    return tmp_path / ".env"


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
    monkeypatch.setenv("SEGMENT_PORT", "81")
    assert read_settings().port == 81
    assert "SEGMENT_PORT" not in kubernetes_variables({"SEGMENT_PORT": "81"})


def test_variables_of_the_compose_file_and_the_pages_commands_are_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    snippets = (ROOT / "app" / "static" / "snippets.js").read_text()
    for name, text in (
        ("SEGMENT_PUBLISHED_PORT", compose),
        ("SEGMENT_KEY", snippets),
        ("SEGMENTATION_PORT", "SEGMENTATION_PORT"),
    ):
        assert name in text
        monkeypatch.setenv(name, "9000")
    assert read_settings().port == 8000


WRONG = [
    ({"SEGMENT_API_KEY": "zebra"}, "SEGMENT_API_KEY: there is no such setting; did you mean SEGMENT_API_KEYS?"),
    ({"segment_treads": "1"}, "SEGMENT_TREADS: there is no such setting; did you mean SEGMENT_THREADS?"),
    ({"SEGMENT_ZZZZ": "1"}, "SEGMENT_ZZZZ: there is no such setting; remove it"),
    ({"SEGMENT_API_KEY:zebra": "1"}, "SEGMENT_API_KEY: there is no such setting"),
    ({"SEGMENT_API_KEYS": "abc", "segment_api_keys": "zebra"}, "SEGMENT_API_KEYS: it is set in capitals and in small letters"),
    *(
        ({f"SEGMENT_{name}": value}, f"SEGMENT_{name}: is empty; give it a value")
        for name in PROTECTIONS
        for value in ("", " \n")
    ),
    ({"SEGMENT_API_KEYS": ","}, "SEGMENT_API_KEYS: is empty"),
    ({"SEGMENT_API_KEYS": "fine,z\u00e9bra"}, "SEGMENT_API_KEYS: key 2 is not KEY or NAME:KEY"),
    ({"SEGMENT_API_KEYS": '"zebra"'}, "SEGMENT_API_KEYS: key 1 is not KEY"),  # `docker run --env-file` passes quotes on
    ({"SEGMENT_API_KEYS": "abc,'zebra'"}, "SEGMENT_API_KEYS: key 2 is not KEY"),
    ({"SEGMENT_API_KEYS_FILE": "/dev/null"}, "SEGMENT_API_KEYS_FILE: the file has no key"),
    ({"SEGMENT_API_KEYS_FILE": "/dev"}, "SEGMENT_API_KEYS_FILE: /dev cannot be read"),
    ({"SEGMENT_API_KEYS_FILE": "/nowhere"}, "SEGMENT_API_KEYS_FILE: /nowhere cannot be read"),
    ({"SEGMENT_PROTECT_ALL": "true"}, "SEGMENT_PROTECT_ALL: there is no key to ask for"),
    ({"SEGMENT_PROTECT_ALL": "yes please"}, "SEGMENT_PROTECT_ALL: "),
    ({"SEGMENT_WEIGHTS_SHA256": "abc"}, "SEGMENT_WEIGHTS_SHA256: each must be 64 hexadecimal digits"),
    ({"SEGMENT_WEIGHTS_SHA256": f"'{DIGEST}'"}, "SEGMENT_WEIGHTS_SHA256: each must be 64 hexadecimal digits"),
    ({"SEGMENT_WEIGHTS_SHA256": f"{DIGEST},{DIGEST}"}, "SEGMENT_WEIGHTS_SHA256: there must be one for each of the 1 weights"),
    ({"SEGMENT_CORS_ORIGINS": '"*"'}, "SEGMENT_CORS_ORIGINS: each must be * or an origin"),
    ({"SEGMENT_TILE": "5" * 3000}, "SEGMENT_TILE"),
]


@pytest.mark.parametrize(("variables", "words"), WRONG, ids=lambda value: next(iter(value)) if isinstance(value, dict) else "")
def test_what_is_no_setting_or_protects_nothing_stops_the_start_with_a_line_that_has_no_key(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fcn-serve: {words}")
    assert "zebra" not in line
    assert "bra" not in line


def test_every_wrong_variable_is_named_and_the_file_replaces_no_empty_one(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file.write_text("SEGMENT_API_KEYS=abc\n")
    monkeypatch.setenv("SEGMENT_API_KEY", "a")
    monkeypatch.setenv("SEGMENT_TILES", "a")
    with pytest.raises(SettingsError, match=r"^SEGMENT_API_KEY: .*\nSEGMENT_TILES: .*SEGMENT_TILE\?"):
        read_settings()
    for name in ("SEGMENT_API_KEY", "SEGMENT_TILES"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("SEGMENT_API_KEYS", "")
    with pytest.raises(SettingsError, match="SEGMENT_API_KEYS: is empty"):
        read_settings()


def test_keys_are_told_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "keys").write_text("from-a-file")
    settings = Settings(api_keys="from-a-variable", api_keys_file=str(tmp_path / "keys"), tile="96")
    assert "from-a" not in f"{settings!r} {settings}"
    monkeypatch.setenv("SEGMENT_API_KEYS", "from-a-variable")
    monkeypatch.setenv("SEGMENT_TILE", "31")
    assert main([]) == 2
    assert "from-a" not in capsys.readouterr().err


def test_keys_come_from_a_file_as_well_each_on_a_line(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b"\xef\xbb\xbf# of the first team\r\nabc, #def\r\n\r\n  g h  \n")
    settings = Settings(api_keys="gamma", api_keys_file=str(path))
    assert settings.read_api_keys() == ("gamma", "abc, #def", "g h")
    path.write_text("delta")
    assert settings.read_api_keys() == ("gamma", "delta")
    assert Settings().read_api_keys() == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"'zebra'\n", "key 1 is not KEY"),
        (b"abc\x0czebra\n", "key 1 is not KEY"),
        (b"abc\xc2\x85zebra\n", "key 1 is not KEY"),
        (b"abc\x00\n", "key 1 is not KEY"),
        (b" \n\t\n# zebra\n", "the file has no key"),
        (b"abc\nteam:  # zebra\n", "key 2 is not KEY"),
        ("zébra".encode(), "key 1 is not KEY"),
        (b"\xff\xfek\x00", "it is not UTF-8"),
        (b"", "the file has no key"),
    ],
)
def test_a_file_of_keys_that_is_none_stops_the_start(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(content)
    with pytest.raises(ValueError, match=words) as error_info:
        Settings(api_keys_file=str(tmp_path / "keys"))
    assert "zebra" not in str(error_info.value)


READ = {
    "SEGMENT_API_KEYS=abc#def": ("abc#def",),
    "SEGMENT_API_KEYS='abc #def'": ("abc #def",),
    'SEGMENT_API_KEYS="abc #def"  # of the first team': ("abc #def",),
    "SEGMENT_API_KEYS = abc , def": ("abc", "def"),
    "export SEGMENT_API_KEYS=abc": ("abc",),
    "  segment_api_keys=abc  ": ("abc",),
    "SEGMENT_API_KEYS=abc\\n": ("abc\\n",),
    'SEGMENT_API_KEYS=a"b': ('a"b',),
    'SEGMENT_API_KEYS="pa${OTHER}ss"': ("pa${OTHER}ss",),
    "SEGMENT_API_KEYS=$OTHER": ("$OTHER",),
    "SEGMENT_API_KEYS=abc\r": ("abc",),
    "\ufeffSEGMENT_API_KEYS=abc": ("abc",),
    "#SEGMENT_API_KEYS=old\nSEGMENT_API_KEYS=abc": ("abc",),
    "SEGMENT_PORT=81 # of the second instance\nSEGMENT_CORS_ORIGINS= # none\nSEGMENT_API_KEYS=abc": ("abc",),
    "OTHER=1\nOTHER=SEGMENT_2\nsome.thing=3\nAUGMENT_API_KEYS=4\nSEGMENT_API_KEYS=abc": ("abc",),
    'KEY_FILE_TEXT="one\ntwo"\nSEGMENT_API_KEYS=abc': ("abc",),
    'OTHER="\nSEGMENT_API_KEYS=abc\n"': ("abc",),  # a line is a line, also within another value's quotes
    "SEGMENT_API_KEYS=a=b": ("a=b",),
}


@pytest.mark.parametrize(("text", "keys"), READ.items())
def test_what_is_written_is_what_is_checked(env_file: Path, text: str, keys: tuple[str, ...]) -> None:
    env_file.write_bytes(f"{text}\n".encode())
    assert read_settings().read_api_keys() == keys


TWO_WAYS = "SEGMENT_API_KEYS: line {} of .env can be read in two ways"
NO_LINE = "line 1 of .env is not SEGMENT_NAME=value"
STOPS = {
    "SEGMENT_API_KEYS=${NOT_SET:-zebra}": "SEGMENT_API_KEYS: key 1 is not KEY or NAME:KEY",
    "SEGMENT_API_KEYS=team:": "SEGMENT_API_KEYS: key 1 is not KEY or NAME:KEY",
    'SEGMENT_API_KEYS=""': "SEGMENT_API_KEYS: is empty",
    "SEGMENT_API_KEYS=' , '": "SEGMENT_API_KEYS: is empty",
    "SEGMENT_API_KEYS= # zebra": TWO_WAYS.format(1),
    "SEGMENT_API_KEYS=abc\t# zebra": TWO_WAYS.format(1),
    "SEGMENT_API_KEYS=#zebra": "SEGMENT_API_KEYS: key 1 is not",
    'SEGMENT_API_KEYS="abc"#zebra': "SEGMENT_API_KEYS: key 1 is not",
    'SEGMENT_API_KEYS="abc\n,zebra"': "SEGMENT_API_KEYS: key 1 is not",
    "SEGMENT_API_KEYS=\\\nzebra": TWO_WAYS.format(1),
    "SEGMENT_API_KEYS=abc\nSEGMENT_API_KEYS=": TWO_WAYS.format(2),
    "SEGMENT_API_KEYS=abc\n\nexport segment_api_keys=zebra": TWO_WAYS.format(3),
    "SEGMENT_API_KEYS_FILE=keys #2": "SEGMENT_API_KEYS_FILE: line 1 of .env can be read in two ways",
    "OTHER='a\nSEGMENT_PROTECT_ALL=1'": "SEGMENT_PROTECT_ALL: ",
    **dict.fromkeys(
        [
            "SEGMENT_API_KEYS", "SEGMENT_API_KEYS: zebra", "$env:SEGMENT_API_KEYS=zebra", '"SEGMENT_API_KEYS"=zebra',
            "\u200bSEGMENT_API_KEYS=zebra", "set SEGMENT_API_KEYS=zebra", "- SEGMENT_API_KEYS=zebra", "SEGMENT-API-KEYS=zebra",
            "SEGMENT.API_KEYS=zebra", "_SEGMENT_API_KEYS=zebra",
        ],
        NO_LINE,
    ),
    "SEGMENT_API_KEYS=\u200bzebra": "SEGMENT_API_KEYS: key 1 is not KEY or NAME:KEY",
    "SEGMENT_API_KEYS=zebra\0": "SEGMENT_API_KEYS: key 1 is not KEY or NAME:KEY",
    "SEGMENT_HOST='  '": "SEGMENT_HOST: is empty",
    **{
        f"SEGMENT_{name}=${{NOT_SET}}": f"SEGMENT_{name}: "
        for name in ("API_KEYS_FILE", "PROTECT_ALL", "WEIGHTS_SHA256", "CORS_ORIGINS", "WEIGHTS")
    },
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), STOPS.items())
def test_what_protects_less_than_was_written_stops_the_start(
    env_file: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    env_file.write_text(f"{text}\n")
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fcn-serve: {words}")
    assert "zebra" not in line


def test_a_file_that_cannot_be_read_stops_the_start_and_none_has_no_variables(
    env_file: Path, settings_of_starts: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_env_file(env_file) == {}
    env_file.symlink_to("nowhere")
    for content in (None, "SEGMENT_PORT=81".encode("utf-16"), "# Gr\u00f6\u00dfe\nSEGMENT_PORT=81".encode("latin-1")):
        if content:
            env_file.unlink(missing_ok=True)
            env_file.write_bytes(content)
        assert main([]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("fcn-serve: .env cannot be read: ")
    assert not settings_of_starts
