"""Small real objects that the tests share: a narrow FCN saved to a file, and images made on the spot."""

from __future__ import annotations

import asyncio
import io
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, cast

import httpx
import numpy as np
import numpy.typing as npt
import pytest
import uvicorn
from fastapi.testclient import TestClient
from filelock import FileLock
from PIL import Image
from starlette.types import ASGIApp

from model.inference.cores import available_cores, available_memory
from model.inference.loading import load_runtime
from model.inference.runtime import Runtime
from model.weights_file import Weights, find_files, load_weights

ROOT = Path(__file__).parent.parent
Pixels = npt.NDArray[np.uint8]
RUNTIMES = ["openvino", pytest.param("torch", marks=pytest.mark.torch)]
needs_gpu = pytest.mark.skipif(
    not Path("/proc/driver/nvidia/version").exists() or not find_spec("torch"), reason="needs an NVIDIA GPU and PyTorch"
)
DEVICES = [
    pytest.param("cpu", marks=pytest.mark.torch),
    pytest.param("cuda", marks=[pytest.mark.cuda, pytest.mark.torch, needs_gpu]),
]
NAMES = ["background", "circle", "square", "triangle"]
WORKER_BYTES = 2 << 30  # a worker with PyTorch and OpenVINO, and the services that it starts
HANG_S = 240  # for what must come at some time: long enough for the slowest machine, and nothing is measured by it
SERVE = "import sys; from app.main import main; sys.exit(main([]))"  # as the command `fcn-serve` does
SEGMENT = "import sys; from cli.start import segment; sys.exit(segment())"  # as `fcn-segment` does
LONGEST_S = 1000  # the same, for a whole training or bench


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--narrow", type=Path, help="the narrow network's file, where it cannot be made for lack of PyTorch")


def pytest_configure() -> None:
    """A shell starts what it puts into the background with SIGINT ignored, and whatever is started from there inherits that."""
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
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "weights"
    folder.mkdir(exist_ok=True)
    path = folder / "narrow.safetensors"
    with FileLock(folder / "lock"):
        if not path.exists():
            from tests.narrow import write_narrow  # needs PyTorch

            write_narrow(path)
    return path


@pytest.fixture(scope="session")
def narrow(narrow_file: Path) -> Weights:
    return load_weights(narrow_file)


@pytest.fixture(scope="session", params=RUNTIMES)
def runtime(request: pytest.FixtureRequest, narrow_file: Path) -> Runtime:
    """The narrow network on each runtime, in float32 on the CPU."""
    return load_runtime(find_files(str(narrow_file)), request.param, "cpu", "float32", threads=1)


@pytest.fixture
def photo() -> Callable[..., Pixels]:
    """Makes a smooth, colourful uint8 RGB image (height, width, 3): the same for the same size and seed."""
    return make_photo


def make_photo(height: int, width: int, seed: int = 0) -> Pixels:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, height // 24), max(2, width // 24), 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def wait_for(condition: Callable[[], bool], seconds: float = HANG_S) -> None:
    """Returns once it holds; raises `AssertionError` where it does not come about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come about"
        time.sleep(0.01)


def encoded(pixels: Pixels, format: str = "PNG", **options: object) -> bytes:
    """The image as a file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


@contextmanager
def served(log: Path, **settings: object) -> Iterator[str]:
    """The address of `fcn-serve` with these settings, ready, in a process of its own that writes to `log`."""
    port = free_port()
    variables = {f"SEGMENT_{name.upper()}": str(value) for name, value in settings.items()}
    environment = os.environ | {"SEGMENT_PORT": str(port), "SEGMENT_LOG_LEVEL": "warning"} | variables
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", SERVE], cwd=ROOT, env=environment, stdout=file, stderr=file)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(HANG_S)


@pytest.fixture(scope="session")
def live_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with the default weights and settings."""
    with served(tmp_path_factory.mktemp("live") / "log") as url:
        yield url


@pytest.fixture(scope="session")
def narrow_url(narrow_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with the narrow network."""
    with served(tmp_path_factory.mktemp("narrow") / "log", weights=narrow_file, device="cpu", threads=1) as url:
        yield url


def free_port() -> int:
    """One that nobody listens on; below those that systems give to outgoing connections, so that none takes it meanwhile."""
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


@contextmanager
def over_http(app: ASGIApp | TestClient, http: Callable[..., asyncio.Protocol] | Literal["h11"] = "h11") -> Iterator[int]:
    """The port where uvicorn serves the app from a thread, without its lifespan; a client's app on the client's event loop."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app.app if isinstance(app, TestClient) else app, log_level="warning", lifespan="off", loop="asyncio", ws="none",
        http=cast("type[asyncio.Protocol] | Literal['h11']", http), timeout_keep_alive=2 * HANG_S,
    )  # fmt: skip
    server = uvicorn.Server(config)
    if isinstance(app, TestClient):
        assert app.portal
        running: Future[None] = app.portal.start_task_soon(server.serve, [listener])
    else:
        running = Future()
        threading.Thread(target=lambda: running.set_result(server.run([listener]))).start()
    try:
        wait_for(lambda: server.started or running.done())
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        running.result(HANG_S)
        listener.close()


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + HANG_S
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{url}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"the service at {url} did not become ready; its exit status is {process.poll()}")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like the checkout and takes what the commands write."""
    for path in ROOT.iterdir():
        if path.name not in ("runs", "out", ".git"):
            (tmp_path / path.name).symlink_to(path)
    return tmp_path


def run(commands: str, folder: Path, seconds: float = LONGEST_S) -> None:
    """Runs shell commands, which must succeed within so many seconds."""
    result = subprocess.run(["bash", "-euc", commands], cwd=folder, capture_output=True, text=True, timeout=seconds)
    assert result.returncode == 0, result.stderr
