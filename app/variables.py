"""The variables that settings are read from: those of the environment, and those of a `.env` file, whose values are literal."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

PREFIX = "SEGMENT_"
ENV_FILE = Path(".env")
FOREIGN = {"PUBLISHED_PORT", "KEY"}  # used by docker-compose.yml, and by the commands that the web page shows
UNCOMMENTED = {"API_KEYS", "API_KEYS_FILE"}  # any text may be their value, so what follows them is no comment
# variables, with the beginning of their values, that Kubernetes sets in each container for a Service `segment` or `segment-...`
SERVICE_LINK = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)=|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=|PORT=(tcp|udp|sctp)://)",
    re.ASCII | re.IGNORECASE,
)
OURS = re.compile(r"SEGMENT[\W_]", re.IGNORECASE)
LINE = re.compile(rf"(?:export\s+)?{PREFIX}(\w+)\s*=(.*)", re.ASCII | re.IGNORECASE)
QUOTED = re.compile(r"""\s*(['"])(.*)\1(?:\s+#.*)?""")
COMMENT = re.compile(r"\s+#.*")


class SettingsError(ValueError):
    """Settings with which the service does not start. The message has a line for each, and never a key."""


def kubernetes_variables(variables: Mapping[str, str]) -> list[str]:
    """The names, sorted, of the variables that Kubernetes has set for a Service named `segment`. They are not settings."""
    return sorted(name for name, value in variables.items() if SERVICE_LINK.match(f"{name}={value}"))


def read_variables(variables: Mapping[str, str], settings: Collection[str]) -> dict[str, str]:
    """The values of the settings among the variables, by the settings' names. The case of a variable's name does not matter.

    Raises `SettingsError` for a `SEGMENT_*` variable that is no setting, and for a setting that is there twice. The message has
    no values, because they may be keys.
    """
    values: dict[str, str] = {}
    lines = []
    for name in sorted(variables.keys() - {*kubernetes_variables(variables)}):
        setting = name.upper().removeprefix(PREFIX)
        if setting == name.upper() or setting in FOREIGN:
            continue
        if setting.lower() not in settings:
            shown = re.sub(r"\W.*", "", name.upper(), flags=re.ASCII | re.DOTALL)[:100]  # what follows may be a value
            nearest = difflib.get_close_matches(shown, [f"{PREFIX}{each}".upper() for each in settings], 1, 0.9)
            hint = f"did you mean {nearest[0]}?" if nearest else "remove it"
            lines.append(f"{shown}: there is no such setting; {hint} (fcn-serve --help lists them)")
        elif setting.lower() in values:
            lines.append(f"{name.upper()}: it is set in capitals and in small letters; keep one of them")
        else:
            values[setting.lower()] = variables[name]
    if lines:
        raise SettingsError("\n".join(lines))
    return values


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, without a byte order mark. Raises `SettingsError` if it cannot be read."""
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{path} cannot be read: {reason}") from None


def read_env_file(path: Path) -> dict[str, str]:
    """The `SEGMENT_*` variables in the file; none if there is no such file. Each stands on a line of its own.

    Values are literal; quotes around a value are not part of it, nor is a comment behind it. Raises `SettingsError`, without a
    value, if the file cannot be read, for a line that names `SEGMENT` and is not `SEGMENT_NAME=value`, and for a setting that
    other programs may read otherwise: one that is there twice, and a value with a `#` that may be part of a key, or with a
    backslash at its end.
    """
    if not os.path.lexists(path):  # a link that leads nowhere is an error
        return {}
    values: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, read_text(path).split("\n")), 1):
        if line.startswith("#") or not OURS.search(line.partition("=")[0]):
            continue
        if not (match := LINE.fullmatch(line)):
            raise SettingsError(f"line {number} of {path} is not {PREFIX}NAME=value")
        setting, value = match[1].upper(), match[2]
        has_comment = setting in UNCOMMENTED and COMMENT.search(value) is not None
        if quoted := QUOTED.fullmatch(value):
            value, has_comment = quoted[2], False
        else:
            value = COMMENT.sub("", value).strip()
        name = f"{PREFIX}{setting}"
        if name in values or has_comment or value.endswith("\\"):
            problem = f"line {number} of {path} can be read in two ways"
            advice = "write the setting once, the value between single quotes, and nothing after it"
            raise SettingsError(f"{name}: {problem}; {advice}")
        values[name] = value
    return values
