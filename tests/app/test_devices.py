"""The whole service on each device, PyTorch's and OpenVINO's: crowds, reloads, and what only a GPU can lose."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from model.weights_file import DEFAULT_WEIGHTS
from tests.support.app.exchanges import PHOTO, assert_idle, assert_problem, metric, pixels, post, service_of
from tests.support.app.services import Serve
from tests.support.images import Pixels, encode, make_photo
from tests.support.polling import HANG_S, wait_until
from tests.support.runtimes import DEVICES, needs_gpu
from tests.support.servers import fcn_serve, over_http
from tests.support.variants import long

SHAPES = [(90, 130), (180, 240), (200, 64)]
PHOTOS = [encode(make_photo(*SHAPES[seed % 3], seed)) for seed in range(6)]
MIB = 1 << 20
# the service; on SIGUSR2 it reads beyond the end of a tensor on the device, after which CUDA refuses every call
LOSING = """
import contextlib, signal, sys
import torch
def lose(*_):
    with contextlib.suppress(RuntimeError):
        torch.zeros(1, device="cuda")[torch.ones(1, dtype=torch.int64, device="cuda")]
        torch.cuda.synchronize()
signal.signal(signal.SIGUSR2, lose)
from app.main import main
sys.exit(main([]))
"""


def masks(client: TestClient, photos: list[bytes], clients: int = 1, **query: str) -> list[Pixels]:
    """Of each photo, asked for by so many clients at once."""
    with over_http(client) as port, ThreadPoolExecutor(clients) as pool:
        url = f"http://127.0.0.1:{port}/segment"
        answers = list(pool.map(lambda photo: httpx.post(url, content=photo, params=query, timeout=HANG_S), photos))
    assert [answer.status_code for answer in answers] == [200] * len(photos)
    return [pixels(answer.content) for answer in answers]


def agreement(some: list[Pixels], others: list[Pixels]) -> float:
    return float(np.mean([(one == other).mean() for one, other in zip(some, others, strict=True)]))


def allocation(device: str) -> int:
    """Bytes of the device's memory that PyTorch's tensors have; 0 of a processor's."""
    import torch

    return torch.cuda.memory_allocated() if device == "cuda" else 0


@pytest.mark.parametrize("precision", [*long("float32"), "int8"])
def test_a_crowd_on_openvino_gets_what_each_gets_alone(serve: Serve, precision: str) -> None:
    with serve(weights=DEFAULT_WEIGHTS, precision=precision, threads=2) as client:
        (model,) = service_of(client).registry.models.values()
        alone = masks(client, PHOTOS, side="native")
        assert agreement(masks(client, PHOTOS * 2, clients=12, side="native"), alone * 2) == 1.0
        wait_until(lambda: model.segmenter.runtime.concurrency(16) == 2)  # the crowd's streams are there now
        assert agreement(masks(client, PHOTOS * 2, clients=12, side="native"), alone * 2) == 1.0


@pytest.mark.long
@pytest.mark.parametrize("device", DEVICES)
def test_a_crowd_gets_what_each_gets_alone_in_shared_batches(serve: Serve, device: str) -> None:
    with serve(runtime="torch", device=device, precision="auto") as client:
        alone = masks(client, PHOTOS)
        before = metric(client, "segment_batch_tiles_count"), metric(client, "segment_batch_tiles_sum")
        together = masks(client, PHOTOS * 4, clients=16)
        batches, tiles = (
            metric(client, f"segment_batch_tiles_{name}") - was for name, was in zip(("count", "sum"), before, strict=True)
        )
        assert_idle(service_of(client))
    if device == "cpu":  # tile by tile: the same bytes
        assert tiles == batches
        assert agreement(together, alone * 4) == 1.0
    else:  # rounding depends on a batch's size
        assert tiles > batches
        assert agreement(together, alone * 4) >= 0.99


@pytest.mark.long
@pytest.mark.parametrize("device", DEVICES)
def test_a_reload_while_requests_come_drops_none_and_frees_the_former_network(serve: Serve, device: str) -> None:
    with serve(runtime="torch", device=device, precision="float32") as client:
        service = service_of(client)
        before, sizes = masks(client, PHOTOS), []
        for _ in range(2):
            former = service.registry.models
            with ThreadPoolExecutor(1) as pool:
                future = pool.submit(masks, client, PHOTOS * 2, 8)
                service.registry.reload()
                wait_until(lambda former=former: service.registry.models is not former)
                assert agreement(future.result(HANG_S), before * 2) >= 0.99
            (model,) = former.values()
            wait_until(lambda model=model: not model.scheduler.alive)
            assert agreement(masks(client, PHOTOS), before) >= 0.99
            sizes.append(allocation(device))
        assert max(sizes) - min(sizes) < 16 * MIB


@pytest.mark.cuda
@needs_gpu
def test_a_device_s_memory_that_is_full_is_a_503_and_passes(serve: Serve) -> None:
    import torch

    large = encode(make_photo(1400, 2100), "JPEG")
    with serve(runtime="torch", device="cuda", tile="1024") as client:
        assert post(client, PHOTO).status_code == 200
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1e-5)
        try:
            answer = post(client, large, side="native")
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        assert_problem(answer, 503, "the device's memory is full")
        assert int(answer.headers["retry-after"]) > 0
        assert client.get("/health/live").status_code == 200
        assert post(client, large, side="native").status_code == 200
        assert_idle(service_of(client))


@pytest.mark.cuda
@needs_gpu
def test_a_service_whose_device_is_lost_ends_by_itself(narrow_file: Path, tmp_path: Path) -> None:
    """With a 503 and status 1, or by an abort: PyTorch may call a broken CUDA once more while it frees memory."""
    with fcn_serve(narrow_file, tmp_path, program=LOSING, runtime="torch", device="cuda") as it:
        assert it.post().status_code == 200
        it.signal(signal.SIGUSR2)
        status: int | None = 200
        while status == 200:  # the signal may not have come yet
            try:
                status = it.post().status_code
            except httpx.TransportError:
                status = None
        assert status in (503, None)
        assert it.process.wait(HANG_S) in (1, -signal.SIGABRT), it.log.read_text()
