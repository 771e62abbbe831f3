"""A `.env` file, and the environment beside it: what is written is what is checked, or the service does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import main as program
from app.environment import UnknownSetting, WrongVariable
from app.main import main
from app.settings import Settings
from app.sources import read_env_file

UNSET = "A_VARIABLE_THAT_IS_NOT_SET"


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that should have stopped returns 0, and the test fails."""
    monkeypatch.setattr(program, "serve", lambda app: 0)
    monkeypatch.setattr(program, "configure_logging", lambda *_: None)


@pytest.fixture
def env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTHER", "other")
    return tmp_path / ".env"


LITERAL = {
    "${%s}": "${%s}", "pa${%s}ss": "pa${%s}ss", "$%s": "$%s",
    '"pa${%s}ss"': "pa${%s}ss", "'pa${%s}ss'": "pa${%s}ss",
}  # fmt: skip


@pytest.mark.parametrize("name", [UNSET, "OTHER", "SEGMENT_API_KEYS"])
@pytest.mark.parametrize(("value", "key"), LITERAL.items())
def test_values_are_literal(env_file: Path, value: str, key: str, name: str) -> None:
    env_file.write_text(f"OTHER=beside\nSEGMENT_API_KEYS={value.replace('%s', name)}\n")
    assert Settings().read_api_keys() == (key.replace("%s", name),)


@pytest.mark.parametrize("name", [UNSET, "OTHER"])
@pytest.mark.parametrize("setting", ["API_KEYS_FILE", "PROTECT_ALL", "WEIGHTS_SHA256", "CORS_ORIGINS", "WEIGHTS"])
def test_a_variable_in_a_value_never_empties_a_protection(
    env_file: Path, setting: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    env_file.write_text(f"SEGMENT_{setting}=${{{name}}}\n")
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fcn-serve: SEGMENT_{setting}: ")


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
    "SEGMENT_PORT=81 # of the second instance\nSEGMENT_API_KEYS=abc": ("abc",),
    "OTHER=1\nOTHER=2\nsome.thing=3\nSEGMENT_API_KEYS=abc": ("abc",),
    'KEY_FILE_TEXT="one\ntwo"\nSEGMENT_API_KEYS=abc': ("abc",),
    "SEGMENT_API_KEYS=a=b": ("a=b",),
}


@pytest.mark.parametrize(("text", "keys"), READ.items())
def test_what_is_written_is_what_is_checked(env_file: Path, text: str, keys: tuple[str, ...]) -> None:
    env_file.write_bytes(f"{text}\n".encode())
    assert Settings().read_api_keys() == keys


MISSPELT = [
    "SEGMENT-API-KEYS", "SEGMENT.API_KEYS", "SEGMENTAPI_KEYS", "SEGMNT_API_KEYS", "segement_api_keys", "SEGMENTS_API_KEYS_FILE",
    "_SEGMENT_PROTECT_ALL", "SEGMETN_WEIGHTS_SHA256", "\u0405EGMENT_API_KEYS",
]  # fmt: skip


@pytest.mark.parametrize("name", MISSPELT)
@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_protection_whose_name_is_nearly_right_stops_the_start(
    env_file: Path, place: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if place == "file":
        env_file.write_text(f"{name}=zebra\n")
    else:
        monkeypatch.setenv(name, "zebra")
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "did you mean SEGMENT_" in line
    assert "zebra" not in line
    assert line.isprintable()


def test_names_of_others_are_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "API_KEYS",
        "OTHER_API_KEYS",
        "AUGMENT_API_KEYS",
        "SEGMENTATION_API_KEYS",
        "SEGMENTS_PORT",
        "SEGMENTS_SERVICE_HOST",
    ):
        monkeypatch.setenv(name, "zebra")
    assert Settings(_env_file=None).api_keys == ()


STOPS = {
    "SEGMENT_API_KEYS=${NOT_SET:-zebra}": "SEGMENT_API_KEYS: key 1 has a colon, but is not NAME:KEY",
    "SEGMENT_API_KEYS=team:${NOT_SET:-}\nSEGMENT_API_KEYS=": "SEGMENT_API_KEYS: it stands in lines 1 and 2",
    "SEGMENT_API_KEYS=team:": "SEGMENT_API_KEYS: key 1 has a colon, but is not NAME:KEY",
    "SEGMENT_API_KEYS=": "SEGMENT_API_KEYS: is empty",
    'SEGMENT_API_KEYS=""': "SEGMENT_API_KEYS: is empty",
    "SEGMENT_API_KEYS=''": "SEGMENT_API_KEYS: is empty",
    "SEGMENT_API_KEYS='  '": "SEGMENT_API_KEYS: is empty",
    "SEGMENT_API_KEYS": "SEGMENT_API_KEYS: has no value",
    "SEGMENT_API_KEYS=,": "SEGMENT_API_KEYS: nothing stands between its commas",
    "SEGMENT_API_KEYS=' , '": "SEGMENT_API_KEYS: nothing stands between its commas",
    "SEGMENT_API_KEYS= # zebra": "SEGMENT_API_KEYS: in line 1 of .env",
    "SEGMENT_API_KEYS=#zebra": "SEGMENT_API_KEYS: in line 1 of .env",
    "SEGMENT_API_KEYS=abc #zebra": "SEGMENT_API_KEYS: in line 1 of .env",
    "SEGMENT_API_KEYS=abc\t# zebra": "SEGMENT_API_KEYS: in line 1 of .env",
    'SEGMENT_API_KEYS="abc"#zebra': "SEGMENT_API_KEYS: in line 1 of .env",
    'SEGMENT_API_KEYS="zebra\\\\b"': "SEGMENT_API_KEYS: in line 1 of .env",
    "SEGMENT_API_KEYS='zebra\\'b'": "SEGMENT_API_KEYS: in line 1 of .env",
    'SEGMENT_API_KEYS="abc\n,zebra"': "SEGMENT_API_KEYS: in line 1 of .env",
    "SEGMENT_API_KEYS=\\\nzebra": "SEGMENT_API_KEYS: in line 1 of .env",
    "SEGMENT_API_KEYS=abc,\\\nzebra": "SEGMENT_API_KEYS: in line 1 of .env",
    'OTHER="\nSEGMENT_API_KEYS=zebra\n"': "SEGMENT_API_KEYS: line 2 of .env is part of a value that begins with a quote",
    "OTHER='a\nSEGMENT_PROTECT_ALL=1'": "SEGMENT_PROTECT_ALL: line 2 of .env is part of a value",
    "SEGMENT_API_KEYS=abc\nSEGMENT_API_KEYS=": "SEGMENT_API_KEYS: it stands in lines 1 and 2",
    "SEGMENT_API_KEYS=abc\n\nexport segment_api_keys=zebra": "SEGMENT_API_KEYS: it stands in lines 1 and 3",
    "SEGMENT_PORT=81\nSEGMENT_PORT=82": "SEGMENT_PORT: it stands in lines 1 and 2",
    "SEGMENT_API_KEYS: zebra": ".env: python-dotenv could not parse statement starting at line 1",
    "SEGMENT_API_KEYS:zebra": ".env: a name with SEGMENT_",
    "$env:SEGMENT_API_KEYS=zebra": ".env: a name with SEGMENT_",
    '"SEGMENT_API_KEYS"=zebra': ".env: a name with SEGMENT_",
    "\u200bSEGMENT_API_KEYS=zebra": ".env: a name with SEGMENT_",
    "set SEGMENT_API_KEYS=zebra": ".env: python-dotenv could not parse",
    "- SEGMENT_API_KEYS=zebra": ".env: python-dotenv could not parse",
    "SEGMENT_API_KEYS=\u200bzebra": "SEGMENT_API_KEYS: key 1 has characters that no header carries",
    "SEGMENT_API_KEYS=zebra\0": "SEGMENT_API_KEYS: key 1 has characters",
    "SEGMENT_API_KEYS_FILE=": "SEGMENT_API_KEYS_FILE: is empty",
    "SEGMENT_API_KEYS_FILE=/dev/null": "SEGMENT_API_KEYS_FILE: the file has no key",
    "SEGMENT_API_KEYS_FILE=/dev": "SEGMENT_API_KEYS_FILE: the file with keys cannot be read",
    "SEGMENT_API_KEYS_FILE=keys #2": "SEGMENT_API_KEYS_FILE: in line 1 of .env",
    "SEGMENT_PROTECT_ALL=": "SEGMENT_PROTECT_ALL: is empty",
    "SEGMENT_PROTECT_ALL": "SEGMENT_PROTECT_ALL: has no value",
    "SEGMENT_PROTECT_ALL=yes please": "SEGMENT_PROTECT_ALL: ",
    "SEGMENT_WEIGHTS_SHA256=": "SEGMENT_WEIGHTS_SHA256: is empty",
    "SEGMENT_HOST=": "SEGMENT_HOST: is empty",
    "SEGMENT_HOST='  '": "SEGMENT_HOST: is empty",
}


@pytest.mark.parametrize(("text", "words"), STOPS.items())
def test_what_protects_less_than_was_written_stops_the_start(
    env_file: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    env_file.write_text(f"{text}\n")
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fcn-serve: {words}")
    assert "zebra" not in line


@pytest.mark.parametrize(
    "name", ["SEGMENT_API_KEYS", "SEGMENT_API_KEYS_FILE", "SEGMENT_WEIGHTS_SHA256", "SEGMENT_PROTECT_ALL", "SEGMENT_HOST"]
)
@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_an_empty_variable_stops_the_start_and_does_not_replace_what_the_file_has(
    env_file: Path, name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    env_file.write_text("SEGMENT_API_KEYS=abc\n")
    monkeypatch.setenv(name, value)
    assert main([]) == 2
    assert capsys.readouterr().err == f"fcn-serve: {name}: is empty; give it a value, or remove it (unset, not empty)\n"


def test_a_name_in_capitals_and_in_small_letters_is_set_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENT_API_KEYS", "abc")
    monkeypatch.setenv("segment_api_keys", "zebra")
    with pytest.raises(WrongVariable, match=r"^SEGMENT_API_KEYS: it is set 2 times") as error_info:
        Settings(_env_file=None)
    assert "zebra" not in str(error_info.value)


def test_a_key_beside_an_unknown_name_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENT_API_KEY:zebra", "1")
    with pytest.raises(UnknownSetting, match=r"^SEGMENT_API_KEY: there is no such setting") as error_info:
        Settings(_env_file=None)
    assert "zebra" not in str(error_info.value)


def test_the_end_of_a_line_in_a_variable_is_not_part_of_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets of Kubernetes often end with one."""
    monkeypatch.setenv("SEGMENT_API_KEYS", "abc\n")
    monkeypatch.setenv("SEGMENT_CORS_ORIGINS", " * \n")
    settings = Settings(_env_file=None)
    assert (settings.api_keys, settings.cors_origins) == (("abc",), ("*",))


def test_where_there_is_no_file_there_are_no_variables(tmp_path: Path) -> None:
    assert read_env_file(tmp_path / ".env") == {}
    assert Settings(_env_file=tmp_path / "none").api_keys == ()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("API_KEYS", '"zebra"', "the quotes around it would be part of it"),
        ("API_KEYS", "'zebra,b'", "the quotes around it would be part of it"),
        ("API_KEYS", "abc,'zebra'", "key 2 stands in quotes"),
        ("WEIGHTS_SHA256", f"'{'ab' * 32}'", "the quotes around it would be part of it"),
        ("CORS_ORIGINS", '"*"', "the quotes around it would be part of it"),
    ],
)
def test_quotes_that_nothing_has_removed_stop_the_start(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`docker run --env-file` and Compose pass them on."""
    monkeypatch.setenv(f"SEGMENT_{name}", value)
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fcn-serve: SEGMENT_{name}: {words}")
    assert "zebra" not in line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"'zebra'\n", "key 1 stands in quotes"),
        (b"abc\x0czebra\n", "key 1 has characters that no header carries"),
        (b"abc\xc2\x85zebra\n", "key 1 has characters that no header carries"),
        (b"abc\x00\n", "key 1 has characters that no header carries"),
        (b" \n\t\n# zebra\n", "the file has no key"),
        (b"abc\nteam:  # zebra\n", "key 2 is a name and a comment"),
    ],
)
def test_a_line_of_a_file_of_keys_is_one_key(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(content)
    with pytest.raises(ValueError, match=words) as error_info:
        Settings(_env_file=None, api_keys_file=str(tmp_path / "keys"))
    assert "zebra" not in str(error_info.value)
    (tmp_path / "keys").write_bytes(b"abc, #def\r\n  g h  \r\n")
    assert Settings(_env_file=None, api_keys_file=str(tmp_path / "keys")).read_api_keys() == ("abc, #def", "g h")
