"""The variables that settings are read from: those of the environment, and those of a `.env` file, whose values are literal."""

from __future__ import annotations

import difflib
import logging
import os
import re
import tempfile
from collections.abc import Collection, Mapping
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from model.inference.errors import NO_SPACE

PREFIX = "SEGMENT_"
ENV_FILE = Path(".env")
PROTECTIONS = ("HOST", "API_KEYS", "API_KEYS_FILE", "PROTECT_ALL", "WEIGHTS_SHA256")  # unset, they leave something open
FOREIGN = {"PUBLISHED_PORT", "KEY"}  # used by docker-compose.yml, and by the commands that the web page shows
UNCOMMENTED = {"API_KEYS", "API_KEYS_FILE"}  # any text may be their value, so what follows them is no comment
PROBE_BYTES = 1 << 16
NEAR = 0.9  # of 1, by `difflib`: one or two letters are wrong
WORD = re.compile(r"\w+", re.ASCII)
# variables, with the beginning of their values, that Kubernetes sets in each container for a Service `segment` or `segment-...`
SERVICE_LINK = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)=|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=|PORT=(tcp|udp|sctp)://)",
    re.ASCII | re.IGNORECASE,
)
LINE = re.compile(rf"(?:export\s+)?'?{PREFIX}(\w+)'?\s*=(.*)", re.ASCII | re.IGNORECASE)
QUOTED = re.compile(r"""(['"])(.*?)\1(?:\s+#.*)?""")
COMMENT = re.compile(r"\s+#.*")


class SettingsError(ValueError):
    """Settings with which the service does not start. The message has a line for each, and never a key."""


class UnreadLines(logging.Handler):
    """Raises `SettingsError` for python-dotenv's warning about a line that it skips."""

    def emit(self, record: logging.LogRecord) -> None:
        raise SettingsError(f"{ENV_FILE}: {record.getMessage()}; write NAME=value there")


def kubernetes_variables(variables: Mapping[str, str | None]) -> list[str]:
    """The names, sorted, of the variables that Kubernetes has set for a Service named `segment`. They are not settings."""
    return sorted(name for name, value in variables.items() if SERVICE_LINK.match(f"{name}={value}"))


def read_variables(variables: Mapping[str, str | None], settings: Collection[str]) -> dict[str, str]:
    """The values of the settings among the variables, by the settings' names. The case of a variable's name does not matter.

    Raises `SettingsError` for a `SEGMENT_*` variable that is no setting, for a name that is nearly that of a protection, and
    for a setting that is there twice or has no value. The message has no values, because they may be keys.
    """
    values: dict[str, str] = {}
    lines = []
    for name in sorted(variables.keys() - {*kubernetes_variables(variables)}):
        setting = name.lower().removeprefix(PREFIX.lower())
        if setting == name.lower() or setting not in settings:
            lines += _unknown(name, settings)
        elif setting in values:
            lines.append(f"{name.upper()}: it is set in capitals and in small letters; keep one of them")
        elif (value := variables[name]) is None:
            lines.append(f"{name.upper()}: has no value; write NAME=value")
        else:
            values[setting] = value
    if lines:
        raise SettingsError("\n".join(lines))
    return values


def _unknown(name: str, settings: Collection[str]) -> list[str]:
    """The line about a variable that is no setting; none if it is another program's."""
    name = name.upper()
    is_ours = name.startswith(PREFIX) if WORD.fullmatch(name) else PREFIX in name
    names = [f"{PREFIX}{setting}".upper() for setting in (settings if is_ours else PROTECTIONS)]
    matches = difflib.get_close_matches(re.sub(r"\W", "_", name, flags=re.ASCII), names, 1, NEAR)
    if name.removeprefix(PREFIX) in FOREIGN or not (is_ours or matches):
        return []
    word = ascii(name)[1:-1] if matches else WORD.findall(name, name.index(PREFIX))[0][:100]  # what follows may be a value
    hint = f"did you mean {matches[0]}?" if matches else "remove it" if WORD.fullmatch(name) else "write NAME=value"
    return [f"{word}: there is no such setting; {hint} (fcn-serve --help lists them)"]


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, without a byte order mark. Raises `SettingsError` if it cannot be read."""
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{path} cannot be read: {reason}") from None


def read_env_file(path: Path) -> dict[str, str | None]:
    """The variables in the file; none if there is no such file. None: a name without a value.

    Quotes around a value are not part of it. Raises `SettingsError`, without a value, if the file cannot be read, for a line
    that is not `NAME=value`, and for a setting that could be read in two ways: the line as it stands and python-dotenv do not
    say the same, because the setting is there twice, in another value's quotes, or beside a `#`, a backslash or a quote.
    """
    if not os.path.lexists(path):  # a link that leads nowhere is an error
        return {}
    text, handler, log = read_text(path), UnreadLines(logging.WARNING), logging.getLogger("dotenv")
    log.addHandler(handler)
    try:
        variables = dotenv_values(stream=StringIO(text), interpolate=False)
    finally:
        log.removeHandler(handler)
    values = {name.upper(): value for name, value in variables.items()}
    for number, line in enumerate(text.split("\n"), 1):
        if match := LINE.fullmatch(line.strip()):
            setting, value = match[1].upper(), match[2].strip()
            if quotation := QUOTED.fullmatch(value):
                value = quotation[2]
            elif setting not in UNCOMMENTED:
                value = COMMENT.sub("", match[2]).strip()
            if value != values.get(f"{PREFIX}{setting}") or value.endswith("\\"):
                problem = f"line {number} of {path} can be read in two ways"
                advice = "write the setting once, the value between single quotes, and nothing after it"
                raise SettingsError(f"{PREFIX}{setting}: {problem}; {advice}")
    return variables


def use_temporary_folder() -> bool:
    """Has this process and its child processes use one folder for temporary files: that of `TMPDIR`, or else the system's.

    It becomes `TMPDIR`, as an absolute path, since child processes may have other working folders. Returns whether its disk has
    room now. Raises `SettingsError` if no file can be written there.
    """
    has_room = True
    try:
        folder = str(Path(os.environ.get("TMPDIR") or tempfile.gettempdir()).resolve())
        with tempfile.TemporaryFile(buffering=0, dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise SettingsError(f"TMPDIR: no file can be written there: {error}; name another folder") from None
        has_room = False
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    return has_room
