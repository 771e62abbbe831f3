"""Checks of the environment: which `SEGMENT_*` variables are settings, and that each says what was meant."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

PREFIX = "SEGMENT_"
REMOVED_SETTINGS = {"dtype": "SEGMENT_PRECISION is its successor", "cuda_graphs": "remove it", "batch_wait_ms": "remove it"}
PROTECTIONS = {"host", "api_keys", "api_keys_file", "protect_all", "weights_sha256"}  # empty, they would open something
NEAR = 0.85  # of 1, by `difflib`: one or two letters of the prefix are wrong
FOREIGN = {"published_port", "key"}  # used by docker-compose.yml, and by the commands that the web page shows
# variables that Kubernetes sets in each container for a Service `segment` or `segment-...`
SERVICE = re.compile(r"([a-z0-9_]+_)?(service_(host|port(_[a-z0-9_]+)?)|port_\d+_(tcp|udp|sctp)(_(proto|port|addr))?)")
WORD = re.compile(r"\w+", re.ASCII)
SERVICE_PORT = re.compile(r"([a-z0-9_]+_)?port")
SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


class UnknownSetting(ValueError):
    """Variables that look like settings but are not. The message has one line for each."""


class WrongVariable(ValueError):
    """A setting that does not say what was meant: it is empty, stands twice, or could be read in two ways. One line."""


def of_kubernetes(variables: Mapping[str, str | None]) -> list[str]:
    """The `SEGMENT_*` variables, in upper case and sorted, that Kubernetes has set for a Service named `segment`."""
    return sorted(name.upper() for name, value in variables.items() if _is_service(_setting(name), value))


def check_names(variables: Mapping[str, str | None], settings: Collection[str]) -> None:
    """Raises `UnknownSetting` if a `SEGMENT_*` variable is neither one of these settings nor set by Kubernetes.

    Other names count as unknown too if they end like a protection and begin nearly like `SEGMENT_`. The message has no values,
    because they may be keys.
    """
    known_names = {"", *settings, *FOREIGN}
    values = {_setting(name): value for name, value in variables.items()}
    unknown = sorted(name for name, value in values.items() if name not in known_names and not _is_service(name, value))
    lines = [_describe(name, settings) for name in unknown]
    nearest = {name: setting for name in variables if not _setting(name) and (setting := _nearest_protection(name))}
    lines += [f"{ascii(name)[1:-1]}: this is no setting; did you mean {setting}?" for name, setting in sorted(nearest.items())]
    if lines:
        raise UnknownSetting("\n".join(lines))


def check_values(variables: Mapping[str, str | None]) -> None:
    """Raises `WrongVariable` for a protection that is empty, since it would protect nothing, and for a name without a value."""
    for name, value in variables.items():
        setting = _setting(name)
        if setting and value is None:
            raise WrongVariable(f"{name.upper()}: has no value; write NAME=value")
        if setting in PROTECTIONS and not (value or "").strip():
            raise WrongVariable(f"{name.upper()}: is empty; give it a value, or remove it (unset, not empty)")


def check_once(names: Iterable[str]) -> None:
    """Raises `WrongVariable` for a setting whose name is there twice, in capitals and in small letters."""
    for name, count in Counter(name.upper() for name in names if _setting(name)).items():
        if count > 1:
            raise WrongVariable(f"{name}: it is set {count} times, in capitals and in small letters; keep one of them")


def _setting(name: str) -> str:
    """The name in lower case without the prefix; empty if it does not have the prefix."""
    name = name.upper()
    return name.removeprefix(PREFIX).lower() if name.startswith(PREFIX) else ""


def _nearest_protection(name: str) -> str | None:
    """The protection that a name without the prefix was to be, such as SEGMENT_API_KEYS for SEGMNT-API-KEYS, or None."""
    plain = re.sub(r"[^A-Z0-9]", "_", name.upper())
    for setting in map(str.upper, PROTECTIONS):
        start = plain.removesuffix(setting)
        if start != plain and difflib.SequenceMatcher(None, start, PREFIX).ratio() > NEAR:
            return f"{PREFIX}{setting}"
    return None


def _is_service(setting: str, value: str | None) -> bool:
    """Whether Kubernetes has set this variable for a Service."""
    if SERVICE.fullmatch(setting):
        return True
    return bool(SERVICE_PORT.fullmatch(setting) and SERVICE_ADDRESS.match(value or ""))


def _describe(setting: str, settings: Iterable[str]) -> str:
    """The message about a variable that is not a setting."""
    name = f"{PREFIX}{(WORD.match(setting.upper()) or [''])[0][:100]}"  # what follows may be a value
    if setting in REMOVED_SETTINGS:
        return f"{name}: this setting is gone; {REMOVED_SETTINGS[setting]}"
    matches = difflib.get_close_matches(setting, list(settings), n=1, cutoff=0.6)
    hint = f"did you mean {PREFIX}{matches[0].upper()}?" if matches else "remove it"
    return f"{name}: there is no such setting; {hint} (fcn-serve --help lists them)"
