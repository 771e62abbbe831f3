"""Networks that are loaded once for many commands and services, where loading is not what is tested."""

from __future__ import annotations

from collections.abc import Callable

from model.inference.loading import load_runtime
from model.inference.runtime import Runtime
from model.weights_file import WeightsFiles


def loading_once() -> Callable[..., Runtime]:
    """As `load_runtime`, which loads the same files with the same options once."""
    networks: dict[tuple[object, ...], Runtime] = {}

    def load(files: WeightsFiles, *options: object) -> Runtime:
        paths = [path for path in (files.master, *files.exports.values()) if path]
        key = (files.name, *((path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths), *options)
        if key not in networks:
            networks[key] = load_runtime(files, *options)  # type: ignore[arg-type]
        return networks[key]

    return load
