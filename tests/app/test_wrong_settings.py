"""Settings with which the service does not start: a line that names the variable, says what is wrong, and tells no key."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from app.main import main
from app.settings import read_settings
from app.variables import SettingsError
from model.weights_file import WEIGHTS_FOLDER

DIGEST = "ab" * 32
VOC, CAMVID = "voc-fcn8s-mobilenet-v2", "camvid-fcn8s-mobilenet-edgetpu"
FILE = str(WEIGHTS_FOLDER / VOC)
TIMES = ("REQUEST_TIMEOUT_S", "UPLOAD_TIMEOUT_S", "LAME_DUCK_S", "DRAIN_S")
VALUES = [
    *((name, "1", "SEGMENT_JOBS_DIR") for name in ("JOB_UPLOAD_MB", "JOBS_MB", "JOBS_DAYS")),
    ("TILE", "500", "tile must be a multiple of 32, got 500"),
    ("TILE", "1000000", "must be at most 4096"),
    ("PORT", "http", ""),
    ("WEIGHTS", "nothing", "no weights file 'nothing'"),
    *(
        ("WEIGHTS", names, f"{first} and {second} are both the model voc-fcn8s-mobilenet-v2; give each file a name of its own")
        for names, first, second in (
            (f"{VOC},{VOC}", VOC, VOC),
            (f"{CAMVID},{VOC},{FILE}.onnx", VOC, f"{FILE}.onnx"),
            (f"{FILE}.int8.onnx,{FILE}.onnx", f"{FILE}.int8.onnx", f"{FILE}.onnx"),
            (f"{FILE}.safetensors, {VOC}.onnx", f"{FILE}.safetensors", f"{VOC}.onnx"),
        )
    ),
    ("RUNTIME", "tensorflow", "should be 'auto', 'openvino', 'torch' or 'onnxruntime', got 'tensorflow'"),
    ("DEVICE", "tpu", "must be auto, cpu, cuda, cuda:N or mps"),
    ("DEVICE", "cpu,cuda", "several of one kind"),
    ("OVERLAP", "0.7", ""),
    ("MAX_UPLOAD_MB", "inf", ""),
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
    *(("HOSTS", value, "such as segment.example") for value in ("http://a.example", "a.example:80", "*", "a.example/b", "a b")),
    ("API_KEYS", ",", "is empty"),
    ("API_KEYS", "'zebra,b'", "key 1 is not KEY"),
    *(
        ("API_KEYS", f"one,{line}", "key 2 is not KEY or NAME:KEY")
        for line in (":zebra", "alice:", "a\x1b[31m:zebra", "é:zebra", "zébra", "x" * 65 + ":zebra", " : zebra")
    ),
    ("CALLBACK_ORIGINS", "*", "open too much"),
    ("CALLBACK_ORIGINS", "https://a.example", "set SEGMENT_JOBS_DIR"),
    *(("CALLBACK_SECRET", value, "must be whsec_ and 24 to 64") for value in ("zebra", "whsec_zebra", "whsec_emVicmE=")),
    ("PROTECT_ALL", "true", "there is no key to ask for"),
    ("WEIGHTS_SHA256", "abc", "each must be 64 hexadecimal digits"),
    ("WEIGHTS_SHA256", f"{DIGEST},{DIGEST}", "there must be one for each of the 1 weights files, got 2"),
    ("TILE", "5" * 3000, ""),
    ("PLATFORM", "azure", "Input should be 'none', 'sagemaker' or 'vertex_ai', got 'azure'"),
    *(
        (name, value, "is empty; give it a value, or remove it (unset, not empty)")
        for name in ("API_KEYS", "API_KEYS_FILE", "WEIGHTS_SHA256", "PROTECT_ALL", "HOST")
        for value in ("", "  ", "\n")
    ),
]
NAMES = dict.fromkeys(
    (
        "SEGMENT_API_KEY", "segment_treads", "SEGMENT-API-KEYS", "SEGMENT.API_KEYS", "SEGMENTAPI_KEYS", "SEGMNT_API_KEYS",
        "segement_api_keys", "SEGMENTS_API_KEYS_FILE", "_SEGMENT_PROTECT_ALL", "SEGMETN_WEIGHTS_SHA256",
        "\u0405EGMENT_API_KEYS",
    ),
    "did you mean SEGMENT_",
) | {"SEGMENT_ZZZZ": "there is no such setting; remove it"}  # fmt: skip
VARIABLES = [
    *(({"TMPDIR": value}, "TMPDIR: no file can be written there: ") for value in ("nothing", "/dev/null", "/proc/self")),
    ({"PORT": "http"}, "PORT: Input should be a valid integer, unable to parse string as an integer, got 'http'"),
    ({"SAGEMAKER_BIND_TO_PORT": "65536"}, "SAGEMAKER_BIND_TO_PORT: Input should be less than or equal to 65535"),
    ({"AIP_HTTP_PORT": "tcp://10.0.0.1:80"}, "AIP_HTTP_PORT: Input should be a valid integer"),
    ({"AIP_PREDICT_ROUTE": "predict?x"}, "AIP_PREDICT_ROUTE: must be a path"),
    ({"SEGMENT_AIP_HTTP_PORT": "80"}, "SEGMENT_AIP_HTTP_PORT: there is no such setting"),
    ({"SEGMENT_API_KEYS": "abc", "segment_api_keys": "zebra"}, "SEGMENT_API_KEYS: it is set in capitals and in small"),
    ({"SEGMENT_API_KEY:zebra": "1"}, "SEGMENT_API_KEY: there is no such setting"),
]
FILES: dict[str | bytes, str] = {
    "SEGMENT_API_KEYS=${NOT_SET:-zebra}": "SEGMENT_API_KEYS: key 1 is not KEY or NAME:KEY",
    "SEGMENT_API_KEYS=": "SEGMENT_API_KEYS: is empty",
    "SEGMENT_API_KEYS='  '": "SEGMENT_API_KEYS: is empty",
    "SEGMENT_API_KEYS": "SEGMENT_API_KEYS: has no value",
    "SEGMENT_API_KEYS= # zebra": "SEGMENT_API_KEYS: line 1 of .env can be read in two ways",
    "SEGMENT_API_KEYS=#zebra": "SEGMENT_API_KEYS: key 1 is not",
    "SEGMENT_API_KEYS=abc #zebra": "SEGMENT_API_KEYS: line 1 of .env can be read in two ways",
    'SEGMENT_API_KEYS="abc"#zebra': "SEGMENT_API_KEYS: line 1 of .env can be read in two ways",
    'SEGMENT_API_KEYS="zebra\\\\b"': "SEGMENT_API_KEYS: line 1 of .env can be read in two ways",
    'SEGMENT_API_KEYS="abc\n,zebra"': "SEGMENT_API_KEYS: line 1 of .env can be read in two ways",
    "SEGMENT_API_KEYS=\\\nzebra": "SEGMENT_API_KEYS: line 1 of .env can be read in two ways",
    'OTHER="\nSEGMENT_API_KEYS=zebra\n"': "SEGMENT_API_KEYS: line 2 of .env can be read in two ways",
    "SEGMENT_API_KEYS=abc\nSEGMENT_API_KEYS=": "SEGMENT_API_KEYS: line 1 of .env can be read in two ways",
    "SEGMENT_API_KEYS=abc\n\nexport segment_api_keys=zebra": "SEGMENT_API_KEYS: line 1 of .env can be read in two ways",
    "SEGMENT_API_KEYS: zebra": ".env: python-dotenv could not parse statement starting at line 1",
    "SEGMENT_API_KEYS:zebra": "SEGMENT_API_KEYS: there is no such setting; write NAME=value",
    '"SEGMENT_API_KEYS"=zebra': '"SEGMENT_API_KEYS": there is no such setting; did you mean SEGMENT_API_KEYS?',
    "\u200bSEGMENT_API_KEYS=zebra": r"\u200bSEGMENT_API_KEYS: there is no such setting; did you mean SEGMENT_API_KEYS?",
    "SEGMENT_API_KEYS_FILE=/dev/null": "SEGMENT_API_KEYS_FILE: the file has no key",
    "SEGMENT_API_KEYS_FILE=/dev": "SEGMENT_API_KEYS_FILE: /dev cannot be read",
    "SEGMENT_API_KEYS_FILE=keys #2": "SEGMENT_API_KEYS_FILE: line 1 of .env can be read in two ways",
    b"# Gr\xf6\xdfe\n": ".env cannot be read: it is not UTF-8",
    b"\xef\xbb\xbfSEGMENT_PORT=http\n": "SEGMENT_PORT: ",
}
KEYS = "SEGMENT_API_KEYS=abc"  # of a file; an empty variable does not leave it to this
CASES: list[tuple[dict[str, str], str | bytes, str]] = [
    *(({f"SEGMENT_{name}": value}, "" if words == "there is no key to ask for" else KEYS, f"SEGMENT_{name}: …{words}")
      for name, value, words in VALUES),
    *(({name: "zebra"}, "", f"{ascii(name.upper())[1:-1]}: …{words}") for name, words in NAMES.items()),
    *(({}, f"{name}=zebra", f"{ascii(name.upper())[1:-1]}: …{words}") for name, words in NAMES.items()),
    *((variables, "", words) for variables, words in VARIABLES),
    *(({}, text, words) for text, words in FILES.items()),
]  # fmt: skip


@pytest.mark.parametrize(("variables", "file", "words"), CASES, ids=lambda value: ascii(value)[:40])
def test_what_is_wrong_or_protects_less_than_was_written_stops_the_start_with_a_line(
    variables: dict[str, str], file: str | bytes, words: str,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTHER", "other")
    if file:
        Path(".env").write_bytes(file if isinstance(file, bytes) else f"{file}\n".encode())
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(".*".join(map(re.escape, f"fcn-serve: {words}".split("…"))), line), line
    assert "bra" not in line
    assert line.isprintable()


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("nowhere")], ids=["folder", "link"])
def test_a_dotenv_file_that_is_none_is_a_line(
    make: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / ".env")
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fcn-serve: .env cannot be read: ")


def test_each_wrong_variable_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SEGMENT_API_KEY", "SEGMENT_TILES"):
        monkeypatch.setenv(name, "zebra")
    with pytest.raises(SettingsError, match=r"^SEGMENT_API_KEY: [^\n]*\nSEGMENT_TILES: [^\n]*SEGMENT_TILE\?[^\n]*$"):
        read_settings()


def test_jobs_have_room_for_one_upload(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SEGMENT_JOBS_MB: must be at least SEGMENT_JOB_UPLOAD_MB, which is 16384"):
        read_settings(jobs_dir=tmp_path, jobs_mb=16_383)
    assert read_settings(jobs_dir=tmp_path, job_upload_mb=9, jobs_mb=9, jobs_days=1).jobs_mb == 9
