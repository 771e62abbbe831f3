"""The client that waits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Self, Unpack

import httpx
from PIL import Image

from fcn_client import address, answers, calls
from fcn_client.calls import Call, Options, PictureFormat
from fcn_client.errors import ConnectionFailed, ServerBusy
from fcn_client.images import ImageLike
from fcn_client.many import check_concurrency, in_order
from fcn_client.results import Label, Model, Segmentation
from fcn_client.retrying import POLL_S, Attempts, Outcome, Send, attempts


class SegmentClient:
    """Asks a service; for several threads at once. Close it, or use it in a `with`.

    timeout: seconds for one call with its retries. retries: how often a busy or lost service is asked again. sleep, clock:
    for tests. Raises `ValueError` for an address, a key, limits or proxies of the environment that cannot be used; this machine
    (localhost, 127.0.0.0/8, ::1) is asked without a proxy. Every method raises `SegmentError`; those that take an image also
    what reading it raises.
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
        self.timeout = timeout
        self.retries = retries
        self._sleep = sleep
        self._clock = clock
        url, headers = address.base(base_url), address.headers(api_key)
        with address.usable_environment(url):
            if transport is None and address.is_this_machine(url.host):
                transport = httpx.HTTPTransport()
            self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def segment(self, image: ImageLike, *, confidence: bool = False, **options: Unpack[Options]) -> Segmentation:
        """The image's class map as an array, and what is said of it; with `confidence`, that of every pixel."""
        return answers.segmentation(self._ask(calls.post(image, **calls.as_json(options, confidence))))

    def segment_many(
        self, images: Iterable[ImageLike], *, concurrency: int = 4, confidence: bool = False, **options: Unpack[Options]
    ) -> Iterator[tuple[ImageLike, Segmentation | Exception]]:
        """Each image with its answer or its error, in order; the images are taken as they are needed."""
        check_concurrency(concurrency)
        calls.checked(options)
        return in_order(images, partial(self.segment, confidence=confidence, **options), concurrency)

    def raw(self, image: ImageLike, **query: Any) -> bytes:
        """The answer's bytes for any query of `/segment`, such as `format="npz"`."""
        return answers.body(self._ask(calls.post(image, **query)))

    def mask_png(self, image: ImageLike, **options: Unpack[Options]) -> bytes:
        """A palette PNG whose pixel values are class ids."""
        return self.raw(image, **calls.checked(options), format="png")

    def overlay(
        self, image: ImageLike, *, alpha: float = 0.5, image_format: PictureFormat = "jpeg", **options: Unpack[Options]
    ) -> Image.Image:
        """The photo with the class colours over it, RGB; it travels as JPEG unless told otherwise."""
        query = calls.checked(options) | {"format": "overlay", "alpha": alpha, "image_format": image_format}
        return answers.picture(self._ask(calls.post(image, **query)))

    def classes(self, model: str | None = None) -> list[Label]:
        return answers.labels(self._ask(calls.get("classes", model)))

    def models(self) -> list[Model]:
        """The first is the default."""
        return answers.models(self._ask(calls.get("models")))

    def info(self, model: str | None = None) -> dict[str, Any]:
        """The model, its scores, the device and the limits."""
        return answers.document(self._ask(calls.get("info", model)))

    def ready(self) -> bool:
        """Whether it takes images now; asks once."""
        try:
            answers.not_a_page(self._ask(calls.get("health/ready"), attempts(0, self.timeout, self._clock)))
        except (ServerBusy, ConnectionFailed):
            return False
        return True

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Raises `ConnectionFailed` or `ServerBusy`, with the reason, where it is not ready within so many seconds."""
        answers.not_a_page(self._ask(calls.get("health/ready"), attempts(math.inf, timeout, self._clock, POLL_S)))

    def _ask(self, call: Call, plan: Attempts | None = None) -> httpx.Response:
        plan = plan or attempts(self.retries, self.timeout, self._clock)
        try:
            step = next(plan)
            while True:
                if isinstance(step, Send):
                    step = plan.send(self._send(call, step.seconds))
                else:
                    self._sleep(step.seconds)
                    step = next(plan)
        except StopIteration as done:
            answer: httpx.Response = done.value
            return answer

    def _send(self, call: Call, seconds: float) -> Outcome:
        try:
            timeout = calls.timeouts(seconds)
            return self._http.request(call.method, call.path, params=call.query, files=call.files, timeout=timeout)
        except httpx.RequestError as error:
            return error
