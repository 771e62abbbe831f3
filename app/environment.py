"""Names of environment variables: which `SEGMENT_*` variables are settings, and messages about those that are not."""

from __future__ import annotations

import difflib
import errno
import logging
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Self

PREFIX = "SEGMENT_"
REMOVED_SETTINGS = {"dtype": "SEGMENT_PRECISION is its successor", "cuda_graphs": "remove it", "batch_wait_ms": "remove it"}
FOREIGN = {"published_port", "key"}  # used by docker-compose.yml, and by the commands that the web page shows
# variables that Kubernetes sets in each container for a Service `segment` or `segment-...`
SERVICE = re.compile(r"([a-z0-9_]+_)?(service_(host|port(_[a-z0-9_]+)?)|port_\d+_(tcp|udp|sctp)(_(proto|port|addr))?)")
SERVICE_PORT = re.compile(r"([a-z0-9_]+_)?port")
LOGGER = logging.getLogger("dotenv")
SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


class UnknownSetting(ValueError):
    """Variables that look like settings but are not. The message has one line for each."""


def check_env_file(path: Path) -> None:
    """Raises `OSError` if the path is a folder or a broken link, because no setting would be read from it."""
    if path.is_dir():
        raise OSError(errno.EISDIR, "it is a folder, as Docker makes one to mount a file that is missing", str(path))
    if path.is_symlink() and not path.exists():
        raise OSError(errno.ENOENT, "it is a link that leads nowhere", str(path))


class UnreadLines(logging.Handler):
    """A context manager that collects python-dotenv's warnings about lines of a `.env` file that it skips."""

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
    """The `SEGMENT_*` variables, in upper case and sorted, that Kubernetes has set for a Service named `segment`."""
    return sorted(name.upper() for name, value in variables.items() if _is_service(_setting(name), value))


def check_names(variables: Mapping[str, str | None], settings: Collection[str]) -> None:
    """Raises `UnknownSetting` if a `SEGMENT_*` variable is neither one of these settings nor set by Kubernetes.

    The message has no values, because they may be keys.
    """
    known_names = {"", *settings, *FOREIGN}
    values = {_setting(name): value for name, value in variables.items()}
    unknown = sorted(name for name, value in values.items() if name not in known_names and not _is_service(name, value))
    if unknown:
        raise UnknownSetting("\n".join(_describe(name, settings) for name in unknown))


def _setting(name: str) -> str:
    """The name in lower case without the prefix; empty if it does not have the prefix."""
    name = name.upper()
    return name.removeprefix(PREFIX).lower() if name.startswith(PREFIX) else ""


def _is_service(setting: str, value: str | None) -> bool:
    """Whether Kubernetes has set this variable for a Service."""
    if SERVICE.fullmatch(setting):
        return True
    return bool(SERVICE_PORT.fullmatch(setting) and SERVICE_ADDRESS.match(value or ""))


def _describe(setting: str, settings: Iterable[str]) -> str:
    """The message about a variable that is not a setting."""
    name = f"{PREFIX}{setting.upper()[:100]}"
    if setting in REMOVED_SETTINGS:
        return f"{name}: this setting is gone; {REMOVED_SETTINGS[setting]}"
    matches = difflib.get_close_matches(setting, list(settings), n=1, cutoff=0.6)
    hint = f"did you mean {PREFIX}{matches[0].upper()}?" if matches else "remove it"
    return f"{name}: there is no such setting; {hint} (fcn-serve --help lists them)"
