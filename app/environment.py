"""Names in the environment: which `SEGMENT_*` variables are settings, and what is said of those that are not."""

from __future__ import annotations

import difflib
import errno
import logging
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Self

PREFIX = "SEGMENT_"
REMOVED = {"dtype": "SEGMENT_PRECISION is its successor", "cuda_graphs": "remove it", "batch_wait_ms": "remove it"}
FOREIGN = {"published_port", "key"}  # of docker-compose.yml, and of the commands that the web page shows
# what Kubernetes gives each container about a Service `segment` or `segment-...`
SERVICE = re.compile(r"([a-z0-9_]+_)?(service_(host|port(_[a-z0-9_]+)?)|port_\d+_(tcp|udp|sctp)(_(proto|port|addr))?)")
SERVICE_PORT = re.compile(r"([a-z0-9_]+_)?port")
LOGGER = logging.getLogger("dotenv")
SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


class UnknownSetting(ValueError):
    """Variables that look like settings and are none; a line each."""


def check_env_file(path: Path) -> None:
    """Raises `OSError` where there is something of this name that is no file: no setting would be read from it."""
    if path.is_dir():
        raise OSError(errno.EISDIR, "it is a folder, as Docker makes one to mount a file that is missing", str(path))
    if path.is_symlink() and not path.exists():
        raise OSError(errno.ENOENT, "it is a link that leads nowhere", str(path))


class UnreadLines(logging.Handler):
    """Keeps what python-dotenv warns of while it lasts: lines of a `.env` file that it passes over."""

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


def of_kubernetes(variables: Mapping[str, str | None]) -> list[str]:
    """The `SEGMENT_*` variables, in upper case and in order, that Kubernetes has set for a Service of that name."""
    return sorted(name.upper() for name, value in variables.items() if _is_service(_setting(name), value))


def check_names(variables: Mapping[str, str | None], settings: Collection[str]) -> None:
    """Raises `UnknownSetting` where a variable begins with `SEGMENT_` and is neither one of these settings nor Kubernetes'.

    Values are not told: they may be keys.
    """
    known = {"", *settings, *FOREIGN}
    given = {_setting(name): value for name, value in variables.items()}
    unknown = sorted(name for name, value in given.items() if name not in known and not _is_service(name, value))
    if unknown:
        raise UnknownSetting("\n".join(_describe(name, settings) for name in unknown))


def _setting(name: str) -> str:
    """The name in lower case and without the prefix; empty where it has none."""
    name = name.upper()
    return name.removeprefix(PREFIX).lower() if name.startswith(PREFIX) else ""


def _is_service(setting: str, value: str | None) -> bool:
    if SERVICE.fullmatch(setting):
        return True
    return bool(SERVICE_PORT.fullmatch(setting) and SERVICE_ADDRESS.match(value or ""))


def _describe(setting: str, settings: Iterable[str]) -> str:
    name = f"{PREFIX}{setting.upper()[:100]}"
    if setting in REMOVED:
        return f"{name}: this setting is gone; {REMOVED[setting]}"
    near = difflib.get_close_matches(setting, list(settings), 1, 0.6)
    hint = f"did you mean {PREFIX}{near[0].upper()}?" if near else "remove it"
    return f"{name}: there is no such setting; {hint} (fcn-serve --help lists them)"
