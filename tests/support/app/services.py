"""A service without HTTP on an event loop of its own, and one whose network waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import pytest
from fastapi.testclient import TestClient

from app.serving.admission import Reservation
from app.serving.clients import Client
from app.serving.lanes import Turn
from app.serving.registry import Model
from app.serving.service import Service
from imaging.decoding import Limits
from model.inference.plan import Options
from model.inference.processes.blob import Blob
from model.inference.processes.protocol import ImageRequest
from model.inference.scheduler import Scheduler
from model.inference.segmenter import Segmenter
from tests.support.app.exchanges import assert_idle, service_of
from tests.support.model.doubles import HeldRuntime, Hold
from tests.support.polling import HANG_S, wait_until

T = TypeVar("T")
Serve = Callable[..., AbstractContextManager[TestClient]]


def module_client(**settings: Any) -> Any:
    """A fixture of a module: a service with these settings, in which nothing is left at its end."""

    @pytest.fixture(scope="module")
    def client(serve: Serve) -> Iterator[TestClient]:
        with serve(**settings) as running:
            yield running
            assert_idle(service_of(running))

    return client


class Alone:
    """A service on an event loop of its own, in a thread."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.call(service.start())

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """What a coroutine gives, on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.submit(coroutine).result(HANG_S)

    def segment(self, data: bytes, options: Options, check: Callable[..., None] = lambda _: None) -> Future[bytes]:
        """The answer's bytes, as a request gets them."""
        return self.submit(self._segment(data, options, check))

    async def _segment(self, data: bytes, options: Options, check: Callable[..., None]) -> bytes:
        service, image = self.service, ImageRequest(Blob.of(data), options, Limits())
        with reserve(service) as reservation:
            reservation.callback(image.body.close)
            answer, _ = await service.segment(image, None, reservation, check)
            return answer.body.read(answer.body.length)

    def stop(self) -> None:
        self.call(self.service.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def reserve(service: Service) -> Reservation:
    """A reservation of a client that sends and reads nothing."""
    return service.admission.acquire(Client(lambda: 0, lambda: None), "", service.deadline())


@contextmanager
def occupy(service: Service, tiles: int = 1) -> Iterator[None]:
    """An image of so many tiles is in work."""
    lane = service.admission.small
    with reserve(service) as reservation:
        reservation.turn = Turn(lane, "", tiles, work=1.0, bytes=0, since=0.0)
        lane.join(reservation.turn)
        lane.begin(reservation.turn)
        yield


@contextmanager
def hold_model(service: Service) -> Iterator[Hold]:
    """The service with its default model behind a hold, which is closed.

    At the end it is opened, what waits is done, which leaves no reservation, and the model is put back.
    """
    before = service.registry.models
    model, hold = next(iter(before.values())), Hold()
    runtime = HeldRuntime(model.segmenter.runtime, hold)
    scheduler = Scheduler(
        [runtime], max_batch=1, on_batch=service.metrics.batch, on_failure=service.fail, clock=model.scheduler.clock
    )
    scheduler.start()
    hold.close()
    service.registry.models = {model.name: Model(Segmenter(runtime, model.segmenter.limits), scheduler)}
    try:
        yield hold
    finally:
        hold.open()
        wait_until(lambda: not service.admission.places)
        service.registry.models = before
        scheduler.stop()
