"""A service with jobs, and scenes for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.serving.registry import Registry
from cli.main import main
from tests.support.app.services import Serve
from tests.support.images import make_photo
from tests.support.imaging.scenes import write_scene

pytest.importorskip("rasterio")


@pytest.fixture(scope="module")
def client(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with jobs."""
    with serve(jobs_dir=tmp_path_factory.mktemp("jobs")) as client:
        yield client


@pytest.fixture(scope="module")
def registry(serve: Serve) -> Iterator[Registry]:
    """The models of a service without jobs."""
    with serve() as client:
        yield client.app.state.service.registry  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_scene(tmp_path_factory.mktemp("scene") / "a.tif", make_photo(430, 310)))


@pytest.fixture(scope="session")
def long_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of some seconds."""
    path = tmp_path_factory.mktemp("scene") / "long.tif"
    return Path(write_scene(path, np.tile(make_photo(400, 1500), (10, 1, 1)), tiled=True))


@pytest.fixture
def bytes_of(narrow_file: Path, tmp_path: Path) -> Callable[..., bytes]:
    """The bytes that `fcn-segment` writes for a scene, in a file of this ending."""

    def run(scene: Path, ending: str, *words: str) -> bytes:
        out = tmp_path / f"by-command{ending}"
        network = ("--weights", str(narrow_file), "--precision", "float32", "--device", "cpu", "--tile", "96", "--threads", "1")
        assert main([str(scene), "-o", str(out), *network, *words]) == 0
        return out.read_bytes()

    return run
