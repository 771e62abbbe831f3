"""Fixtures of all tests: the narrow network, services that answer, a photograph, a copy of the checkout."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from benchmarks.harness.serving import service
from model.inference.cores import available_cores, available_memory
from model.inference.instructions import VARIABLE, VNNI
from model.inference.loading import load_runtime
from model.inference.runtime import Runtime
from model.weights_file import Weights, find_files, load_weights
from tests.support.checkout import ROOT
from tests.support.runtimes import RUNTIMES

WORKER_BYTES = 2 << 30  # a worker with PyTorch and OpenVINO, and the services that it starts


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--narrow", type=Path, help="the narrow network's file, where it cannot be made for lack of PyTorch")


def pytest_configure() -> None:
    """A shell starts what it puts into the background with SIGINT ignored, and whatever is started from there inherits that.

    With AMX, each process would choose its instructions, and the answers of two processes might differ in single pixels.
    """
    os.environ.setdefault(VARIABLE, VNNI)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """With `-n auto`, one for each core of the control group's quota, at which xdist does not look, and two gibibytes."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    memory = available_memory() or available_cores() * WORKER_BYTES
    return max(1, min(available_cores(), memory // WORKER_BYTES))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"narrow", "both"}.intersection(getattr(item, "fixturenames", ())):  # made of PyTorch's tensors
            item.add_marker(pytest.mark.torch)


def pytest_collection_finish() -> None:
    """What all test files have imported stays, so the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def threads() -> Iterator[None]:
    """Puts back the number of threads, which the commands' `--threads` sets for the whole process."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    yield
    if torch:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def narrow_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The narrow network's master, its export beside it: the given one, or one that is made once for all of xdist's workers."""
    option: Path | None = request.config.getoption("narrow")
    if option:
        return option.absolute()

    def write(path: Path) -> None:
        from benchmarks.harness.narrow import write_narrow  # needs PyTorch

        write_narrow(path)

    return written_once("narrow", write, tmp_path_factory)


@pytest.fixture(scope="session")
def varied_file(narrow_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The narrow network with all of its classes in most images, as `narrow_file`; skips the test without PyTorch."""
    pytest.importorskip("torch", reason="PyTorch makes the network")
    from benchmarks.harness.narrow import write_varied

    return written_once("varied", lambda path: write_varied(path, narrow_file), tmp_path_factory)


def written_once(name: str, write: Callable[[Path], None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights file of this name in a folder of all of xdist's workers, of which the first one writes it."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "weights"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.safetensors"
    with FileLock(folder / f"{name}.lock"):
        if not path.exists():
            write(path)
    return path


@pytest.fixture(scope="session")
def narrow(narrow_file: Path) -> Weights:
    return load_weights(narrow_file)


@pytest.fixture(scope="session")
def openvino_runtime(narrow_file: Path) -> Runtime:
    """The narrow network on OpenVINO, for what does not depend on the runtime."""
    return load_runtime(find_files(str(narrow_file)), "openvino", "cpu", "float32", threads=1)


@pytest.fixture(scope="session", params=RUNTIMES)
def runtime(request: pytest.FixtureRequest, narrow_file: Path) -> Runtime:
    """The narrow network on each runtime, in float32 on the CPU."""
    return load_runtime(find_files(str(narrow_file)), request.param, "cpu", "float32", threads=1)


@pytest.fixture(scope="module")
def quick_vgg16() -> Iterator[None]:
    """VGG16 is built without the classifier, which no network of ours keeps."""
    from tests.support.model.vgg16 import convolutions  # needs PyTorch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.networks.backbones.vgg16", convolutions)
        yield


@pytest.fixture(scope="session")
def live_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with the default weights and settings."""
    with service(log=tmp_path_factory.mktemp("live") / "log") as server:
        yield server.url


@pytest.fixture(scope="session")
def narrow_url(narrow_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with the narrow network."""
    with service(log=tmp_path_factory.mktemp("narrow") / "log", weights=narrow_file, device="cpu", threads=1) as server:
        yield server.url


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like the checkout and takes what the commands write."""
    for path in ROOT.iterdir():
        if path.name not in ("runs", "out", ".git"):
            (tmp_path / path.name).symlink_to(path)
    return tmp_path
