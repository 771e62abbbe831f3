"""Where settings come from: the environment, a `.env` file, and the variables of managed platforms.

Values of a `.env` file are literal: nothing in them is replaced, and what could be read in two ways is an error.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, Self

from dotenv import dotenv_values
from pydantic.fields import FieldInfo
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource, PydanticBaseSettingsSource

from app.environment import PREFIX, WrongVariable, check_names, check_once, check_values, of_kubernetes
from app.platform_variables import implied_settings

LOGGER = logging.getLogger("dotenv")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SETTING = re.compile(rf"(?:export[^\S\n]+)?'?({PREFIX}\w+)'?[^\S\n]*=(.*)", re.IGNORECASE | re.ASCII)
QUOTED = re.compile(r"""(?:'[^'\\]*'|"[^"\\]*")(?:\s+#.*)?""")
COMMENT = re.compile(r"(?:^|\s)#|\\$")  # or a backslash before the end of the line, which may continue it
LITERAL = {f"{PREFIX}API_KEYS", f"{PREFIX}API_KEYS_FILE"}  # any text may be their value, so that a part of it would pass unseen


class UnreadLines(logging.Handler):
    """A context manager that collects python-dotenv's warnings about lines that it skips, in place of the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def __enter__(self) -> Self:
        self._propagates = LOGGER.propagate
        LOGGER.addHandler(self)
        LOGGER.propagate = False
        return self

    def __exit__(self, *exc_info: object) -> None:
        LOGGER.removeHandler(self)
        LOGGER.propagate = self._propagates


def read_env_file(path: Path) -> dict[str, str | None]:
    """The variables in the file, by their names in lower case; none if there is no such file. None: a name without a value.

    Quotes around a value are not part of it. Raises `OSError` for a folder, a broken link, and a file that cannot be read: no
    setting would be read from them. Raises `UnicodeDecodeError` if it is not UTF-8 (a byte order mark is passed over), and
    `WrongVariable`, without the value, for a line that is not `NAME=value`, a setting that is written twice, and keys that
    could be read in two ways.
    """
    if path.is_dir():
        raise OSError(errno.EISDIR, "it is a folder, as Docker makes one to mount a file that is missing", str(path))
    if not path.exists():
        if path.is_symlink():
            raise OSError(errno.ENOENT, "it is a link that leads nowhere", str(path))
        return {}
    with open(path, encoding="utf-8-sig") as file:
        text = file.read()
    with UnreadLines() as unread:
        values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    if unread.messages:
        raise WrongVariable(f"{path}: {unread.messages[0]}; write NAME=value there")
    _check_lines(path, text, {name.upper() for name in values})
    for name in values:
        if PREFIX in name.upper() and not NAME.fullmatch(name):
            raise WrongVariable(
                f"{path}: a name with {PREFIX} has other signs than letters, digits and _; write NAME=value there"
            )
    return {name.lower(): value for name, value in values.items()}


def _check_lines(path: Path, text: str, names: Collection[str]) -> None:
    """Raises `WrongVariable` for a setting that stands twice or in a value, and for keys that could be read in two ways.

    names: those that python-dotenv has read, in upper case.
    """
    lines: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not (setting := SETTING.fullmatch(line.strip())):
            continue
        name, value = setting[1].upper(), setting[2].strip()
        if name in lines:
            raise WrongVariable(f"{name}: it stands in lines {lines[name]} and {number} of {path}; remove one of them")
        lines[name] = number
        if name not in names:
            raise WrongVariable(f"{name}: line {number} of {path} is part of a value that begins with a quote before it")
        is_literal = QUOTED.fullmatch(value) if value[:1] in ("'", '"') else not COMMENT.search(value)
        if name in LITERAL and not is_literal:
            problem = f"{name}: in line {number} of {path}, a #, a backslash or a quote may or may not be part of the value"
            raise WrongVariable(f"{problem}; write the value between single quotes, and nothing after it")


class PlatformVariables(PydanticBaseSettingsSource):
    """The settings that a managed platform's own variables imply. All other sources beat it. Raises `WrongPort`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return implied_settings(os.environ, self.current_state)


def checked_sources(
    env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource, settings: Collection[str]
) -> tuple[EnvSettingsSource, DotEnvSettingsSource]:
    """The environment and the `.env` file, without the variables that Kubernetes sets for a Service.

    The file is read anew: pydantic-settings has python-dotenv replace `${NAME}` in it, by nothing where NAME is not set. Raises
    `OSError`, `UnicodeDecodeError`, `UnknownSetting` and `WrongVariable`.
    """
    assert isinstance(env_settings, EnvSettingsSource)
    assert isinstance(dotenv_settings, DotEnvSettingsSource)
    if path := dotenv_settings.env_file:
        assert isinstance(path, str | Path)
        dotenv_settings.env_vars = read_env_file(Path(path))
    check_once(os.environ)
    for source in (env_settings, dotenv_settings):
        check_names(source.env_vars, settings)
        check_values(source.env_vars)
        foreign = of_kubernetes(source.env_vars)
        source.env_vars = {name: value for name, value in source.env_vars.items() if name.upper() not in foreign}
    return env_settings, dotenv_settings
