"""The variables that managed platforms set in their containers, and the settings that they imply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from app.access import LARGEST_PORT

Platform = Literal["none", "sagemaker", "vertex_ai"]
SAGEMAKER_PORT = "8080"  # SageMaker sends requests there, unless SAGEMAKER_BIND_TO_PORT is set
ROUTES = {"vertex_health_route": "AIP_HEALTH_ROUTE", "vertex_predict_route": "AIP_PREDICT_ROUTE"}


class Variables(NamedTuple):
    """A platform's variables. port: the one with the port. present: any of them tells that this is the platform."""

    port: str
    present: tuple[str, ...]


PLATFORMS: dict[Platform, Variables] = {
    "sagemaker": Variables("SAGEMAKER_BIND_TO_PORT", ("SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_BATCH")),
    "vertex_ai": Variables("AIP_HTTP_PORT", ("AIP_HTTP_PORT", "AIP_PREDICT_ROUTE")),
}


class WrongPort(ValueError):
    """A platform's variable for the port has no port. The message is one line."""


def implied_settings(variables: Mapping[str, str], state: Mapping[str, object]) -> dict[str, str | int]:
    """The settings that the variables imply. An empty variable counts as absent.

    variables: the environment. state: the settings that have values already, by name; none of them is implied. The port is that
    of the platform, or else `PORT`, which Cloud Run and others set. Raises `WrongPort`.
    """
    platform = state.get("platform") or _platform(variables)
    settings: dict[str, str | int] = {"platform": str(platform)}
    settings |= {setting: variables[name] for setting, name in ROUTES.items() if variables.get(name)}
    if "port" not in state:
        settings |= _port(variables, str(platform))
    return settings


def _platform(variables: Mapping[str, str]) -> Platform:
    return next((name for name, platform in PLATFORMS.items() if any(map(variables.get, platform.present))), "none")


def _port(variables: Mapping[str, str], platform: str) -> dict[str, int]:
    """The setting `port`, if a variable or the platform has one."""
    own = next((names.port for name, names in PLATFORMS.items() if name == platform), "")
    for name in (own, "PORT"):
        value = variables.get(name) or (SAGEMAKER_PORT if platform == "sagemaker" else "")
        if value and not (value.isascii() and value.isdecimal() and len(value) <= 5 and 0 < int(value) <= LARGEST_PORT):
            message = f"{name}: must be a port from 1 to {LARGEST_PORT}, got {value[:100]!r}"
            raise WrongPort(f"{message}; correct it, or set SEGMENT_PORT")
        if value:
            return {"port": int(value)}
    return {}
