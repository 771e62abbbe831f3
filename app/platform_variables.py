"""The variables that managed platforms set in their containers, and the settings that they imply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Platform = Literal["none", "sagemaker", "vertex_ai"]
SAGEMAKER_PORT = "8080"  # SageMaker sends requests there, unless SAGEMAKER_BIND_TO_PORT is set
# any of them tells that this is the platform; the first has the port
PLATFORMS: dict[str, tuple[str, ...]] = {
    "sagemaker": ("SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_BATCH"),
    "vertex_ai": ("AIP_HTTP_PORT", "AIP_PREDICT_ROUTE"),
}
ROUTES = (("vertex_health_route", "AIP_HEALTH_ROUTE"), ("vertex_predict_route", "AIP_PREDICT_ROUTE"))


def implied_settings(variables: Mapping[str, str], settings: Mapping[str, object]) -> dict[str, tuple[str, str]]:
    """The settings that the variables imply, each with the variable's name and its value. An empty variable counts as absent.

    settings: those that have values already, by name; none of them is implied. The port is that of the platform, or else
    `PORT`, which Cloud Run and others set.
    """
    present = {name: value for name, value in variables.items() if value}
    platform = next((each for each, names in PLATFORMS.items() if not present.keys().isdisjoint(names)), "none")
    sources = {"platform": ("", platform)}
    platform = str(settings.get("platform", platform))
    if platform == "sagemaker":
        present = {"SAGEMAKER_BIND_TO_PORT": SAGEMAKER_PORT} | present
    names = (("port", "PORT"), ("port", PLATFORMS.get(platform, ("PORT",))[0]), *ROUTES)  # a later one overrides
    sources |= {setting: (name, present[name]) for setting, name in names if name in present}
    return {setting: each for setting, each in sources.items() if setting not in settings}
