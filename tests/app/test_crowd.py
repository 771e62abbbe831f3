"""Sixteen clients at once get the bytes that a lone client gets, in both precisions of OpenVINO."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from model.inference.runtimes.openvino_runtime import OpenVINORuntime
from model.weights_file import DEFAULT_WEIGHTS
from tests.support.app.exchanges import assert_idle, service_of
from tests.support.app.services import Serve
from tests.support.images import encode, make_photo
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import over_http
from tests.support.variants import long

CLIENTS = 16
SIZES = [(90, 130), (150, 210), (200, 64)]
PHOTOS = [encode(make_photo(*SIZES[seed % 3], seed), "JPEG" if seed % 2 else "PNG") for seed in range(6)]


@pytest.mark.parametrize("precision", [*long("float32"), "int8"])
def test_a_crowd_gets_the_bytes_that_each_gets_alone(serve: Serve, precision: str) -> None:
    with serve(weights=DEFAULT_WEIGHTS, precision=precision, threads=2) as client, over_http(client) as port:

        def mask(photo: bytes) -> bytes:
            url = f"http://127.0.0.1:{port}/segment"
            return httpx.post(url, content=photo, params={"side": "native"}, timeout=HANG_S).raise_for_status().content

        (model,) = service_of(client).registry.models.values()
        runtime = model.segmenter.runtime
        assert isinstance(runtime, OpenVINORuntime)
        alone = [mask(photo) for photo in PHOTOS]
        with ThreadPoolExecutor(CLIENTS) as pool:
            assert list(pool.map(mask, PHOTOS * 3)) == alone * 3
            wait_until(lambda: runtime.concurrency(CLIENTS) == 2)  # the crowd's streams are there now
            assert list(pool.map(mask, PHOTOS * 3)) == alone * 3
        assert runtime.concurrency(CLIENTS) == 2
        assert_idle(service_of(client))
