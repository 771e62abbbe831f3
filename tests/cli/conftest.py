"""The command with the narrow network, and a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from cli.main import main
from tests.support.cli.folders import OTHER, PHOTO, Segment, write_files
from tests.support.cli.kept_workers import kept_workers
from tests.support.images import encode, make_photo
from tests.support.networks import loading_once


@pytest.fixture(autouse=True, scope="module")
def loaded_networks() -> Iterator[None]:
    """The command in this process loads a network and starts workers once for all tests of a module: most runs take less."""
    with pytest.MonkeyPatch.context() as patch, kept_workers() as workers:
        patch.setattr("cli.local.load_runtime", loading_once())
        patch.setattr("cli.main.Local", workers)
        yield


@pytest.fixture
def run(narrow_file: Path) -> Segment:
    """Runs the command with the narrow network; gives its exit status."""

    def run(*arguments: object) -> int:
        options = ["--weights", str(narrow_file), "--device", "cpu", "--precision", "float32", "--threads", "1"]
        return main([*options, *map(str, arguments)])

    return run


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `in` of three photos, below the one that becomes the current one."""
    monkeypatch.chdir(tmp_path)
    return write_files(tmp_path / "in", {"a.png": PHOTO, "b.jpg": OTHER, "sub/c.png": encode(make_photo(50, 60, seed=3))})


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of moto's server of the S3 interface, on this machine."""
    pytest.importorskip("obstore", reason="the extra cloud is not installed")
    server = pytest.importorskip("moto.server", reason="moto is not installed")
    moto = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket; the environment has what its store needs."""
    variables = {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_REGION": "us-east-1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    name = f"photos-{uuid4().hex}"
    client = pytest.importorskip("boto3").client("s3", endpoint_url=s3_endpoint, region_name="us-east-1")
    client.create_bucket(Bucket=name)
    client.close()
    return f"s3://{name}"
