"""Where settings come from: the environment, a `.env` file, and the variables of managed platforms."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource, PydanticBaseSettingsSource

from app.env_file import read_env_file
from app.environment import check_names, check_once, check_values, of_kubernetes
from app.platform_variables import implied_settings


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
