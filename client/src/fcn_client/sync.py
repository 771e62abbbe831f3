"""The blocking client."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Self, Unpack

import httpx
from PIL import Image

from fcn_client import address, answers, bodies, calls, jobs, many
from fcn_client.calls import Call
from fcn_client.connections import Connections
from fcn_client.errors import ConnectionFailed, ServerBusy, connection_error, error_of
from fcn_client.images import ImageLike
from fcn_client.jobs import Job, Output
from fcn_client.parameters import CocoOptions, CutoutOptions, Options, OverlayOptions, PolygonsOptions, SegmentOptions
from fcn_client.results import Label, Model, Polygon, Segmentation
from fcn_client.retrying import POLL_S, Attempts, Outcome


class SegmentClient:
    """Sends images to a service. Close it, or use it in a `with` statement.

    Several threads may use one client. After a fork, parent and child may both use it: each has connections of its own.

    timeout: seconds for one call, including its retries. retries: how often a call is repeated if the service is busy or the
    connection is lost. transport: replaces httpx's own. sleep, clock: for tests. Requests to this machine (localhost,
    127.0.0.0/8, ::1) use no proxy.
    Raises `ValueError` if the address, the key, the limits or the environment's proxies cannot be used. Every method may raise
    `SegmentError`, and `RuntimeError` after `close`, or after a fork if `transport` was set; methods that take an image also
    raise the errors of reading it.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: float = calls.TIMEOUT_S,
        retries: int = calls.RETRIES,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        calls.limits(timeout, retries)
        self._labels: dict[tuple[str, str], list[Label]] = {}
        self.timeout = timeout
        self.retries = retries
        self._sleep = sleep
        self._clock = clock
        url, headers = address.base(base_url), address.headers(api_key)

        def connect() -> httpx.Client:
            own = httpx.HTTPTransport() if transport is None and address.is_this_machine(url.host) else transport
            return httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=own)

        self._connections = Connections(connect, url, repeatable=transport is None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        for client in self._connections.close():
            client.close()

    def segment(self, image: ImageLike, **options: Unpack[SegmentOptions]) -> Segmentation:
        """Segments an image. With `confidence=True`, the answer has the confidence map."""
        response = self._post(image, calls.query("segment", options))
        return answers.segmentation(response, self._labels_of(response))

    def segment_many(
        self, images: Iterable[ImageLike], *, concurrency: int = 4, **options: Unpack[SegmentOptions]
    ) -> Iterator[tuple[ImageLike, Segmentation | Exception]]:
        """Segments many images and yields each with its answer or its error, in order. Takes images only as they are needed."""
        many.check(images, concurrency)
        calls.query("segment", options)
        return many.in_order(images, partial(self.segment, **options), concurrency)

    def raw(self, image: ImageLike, **query: Any) -> bytes:
        """The answer's bytes for any query parameters of `/segment`, such as `format="npz"`."""
        return answers.body(self._post(image, query))

    def mask_png(self, image: ImageLike, **options: Unpack[Options]) -> bytes:
        """A palette PNG whose pixel values are class ids."""
        return self.raw(image, **calls.query("mask_png", options))

    def overlay(self, image: ImageLike, **options: Unpack[OverlayOptions]) -> Image.Image:
        """The photo overlaid with class colours, as an RGB image. The service sends a JPEG, or what `image_format` says."""
        return answers.picture(self._post(image, calls.query("overlay", options)))

    def cutout(self, image: ImageLike, **options: Unpack[CutoutOptions]) -> Image.Image:
        """The photo as an RGBA image of its size, opaque where the classes are. Without `classes`: all but the background."""
        return answers.picture(self._post(image, calls.query("cutout", options)))

    def polygons(self, image: ImageLike, **options: Unpack[PolygonsOptions]) -> dict[str, list[Polygon]]:
        """The polygons of each class that is present, by its name: for each region its outer ring, then its holes."""
        return answers.polygons(self._post(image, calls.query("polygons", options)))

    def coco(self, image: ImageLike, **options: Unpack[CocoOptions]) -> dict[str, Any]:
        """The COCO document of the image, with one annotation for each class and connected region.

        With `mask="polygons"` regions are polygons, else run lengths.
        """
        return answers.document(self._post(image, calls.query("coco", options)))

    def submit(self, files: Sequence[str | Path] | str | Path, *, output: Output | Sequence[Output], **parameters: Any) -> Job:
        """Sends a scene, or many photos, as a job; the parameters are those of `/jobs`. The files are read as they are sent.

        output: of a scene also several.

        It is sent once: after a lost connection, the service may have it or not.
        """
        with jobs.submission(files, output, parameters) as call:
            return jobs.parse(self._ask(call, Attempts(0, self.timeout, self._clock)))

    def job(self, job: Job | str) -> Job:
        """The job as it is now. job: or its id."""
        return jobs.parse(self._ask(jobs.call(job)))

    def wait(self, job: Job | str, on_progress: Callable[[Job], object] = lambda _: None) -> Job:
        """Waits until the job is successful. on_progress: gets the job at each look. Raises `JobFailed`."""
        while (now := self.job(job).checked()).is_open:
            on_progress(now)
            self._sleep(jobs.PAUSE_S)
        return now

    def results(self, job: Job | str, out: str | Path, output: Output | None = None) -> None:
        """Writes the result of a successful job to a file, whole or not at all. output: which, if it has several."""
        try:
            with jobs.whole_file(out) as file, self._stream(jobs.call(job, "results", output), self.timeout) as response:
                if not response.is_success:
                    raise error_of(bodies.read(response))
                jobs.check_file(response)
                for chunk in response.iter_bytes():
                    file.write(chunk)
        except httpx.RequestError as error:
            raise connection_error(error, self.timeout) from error

    def dismiss(self, job: Job | str) -> None:
        """Ends a job that is open, or removes one that has ended, with its result."""
        self._ask(jobs.call(job, method="DELETE"))

    def classes(self, model: str | None = None) -> list[Label]:
        """The classes of a model; None means the default model."""
        return answers.labels(self._ask(calls.get("classes", model)))

    def models(self) -> list[Model]:
        """The models that the service offers; the first is the default."""
        return answers.models(self._ask(calls.get("models")))

    def info(self, model: str | None = None) -> dict[str, Any]:
        """The service's description of a model: its name, scores, device and limits. None means the default model."""
        return answers.document(self._ask(calls.get("info", model)))

    def ready(self) -> bool:
        """Whether the service accepts images now. Asks once, without retries."""
        try:
            answers.not_a_page(self._ask(calls.get("health/ready"), Attempts(0, self.timeout, self._clock)))
        except (ServerBusy, ConnectionFailed):
            return False
        return True

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Waits until the service is ready.

        Raises `ConnectionFailed` or `ServerBusy`, with the reason, if it is not ready within `timeout` seconds.
        """
        answers.not_a_page(self._ask(calls.get("health/ready"), Attempts(math.inf, timeout, self._clock, POLL_S)))

    def _post(self, image: ImageLike, query: dict[str, Any]) -> httpx.Response:
        return self._ask(calls.post(image, query, self.timeout))

    def _labels_of(self, response: httpx.Response) -> list[Label]:
        """The classes of the model that gave the JSON answer. Asks the service once for each model."""
        model = answers.model_of(response)
        if model not in self._labels:
            self._labels[model] = self.classes(model[0])
        return self._labels[model]

    def _ask(self, call: Call, attempts: Attempts | None = None) -> httpx.Response:
        attempts = attempts or Attempts(self.retries, self.timeout, self._clock)
        while True:
            outcome = self._send(call, attempts.left)
            pause = attempts.pause_after(outcome)
            if pause is None:
                assert isinstance(outcome, httpx.Response)
                return outcome
            self._sleep(pause)

    def _send(self, call: Call, seconds: float) -> Outcome:
        try:
            with self._stream(call, seconds) as response:
                return bodies.read(response)
        except httpx.RequestError as error:
            return error

    def _stream(self, call: Call, seconds: float) -> AbstractContextManager[httpx.Response]:
        """Sends the request, and opens its answer. Raises `httpx.RequestError`."""
        client, timeout = self._connections.get(), calls.timeouts(seconds)
        return client.stream(call.method, call.path, params=call.query, files=call.files, timeout=timeout)
