"""Sends images to a running service, which answers the same bytes."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable

import httpx

from cli.address import open_client, origin
from cli.arguments import LOCAL, SERVED, parser, rendering

TRIES = 6
MOST_WAIT_S = 60.0  # before the service is asked again, however long it asks for
BUSY = {429, 502, 503}  # it, or a proxy before it, may answer later
OF_THE_IMAGE = {400, 408, 412, 413, 415, 422, 504}  # others may be answered
NOT_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


class ServerError(OSError):
    """What a service answered instead of a mask, or that it did not answer."""


class ServerUnusable(ServerError):
    """No image will be answered: nothing answers there, the key is wrong, or it is no such service."""


class Remote:
    """From an image file's bytes to the service's answer; for several threads at once.

    Failures that are not the image's own are `ServerUnusable` until the first answer for an image, and after `workers` of them
    in a row. `_lock` guards their count.
    """

    workers = 8  # requests at once: more than most machines have cores, few beside what a service queues

    def __init__(self, args: argparse.Namespace, sleep: Callable[[float], None] = time.sleep) -> None:
        changed = [name for name in LOCAL if getattr(args, name) != parser().get_default(name)]
        if changed:
            raise ServerError(f"--{changed[0].replace('_', '-')} is the service's to choose; leave it out with --server")
        query = {name: str(value) for name in SERVED if (value := getattr(args, name)) is not False and value is not None}
        self._query = query | ({"model": args.model} if args.model else {})
        self._media_type = rendering(args).media_type
        self._sleep = sleep
        self._client = open_client(args.server, args.api_key)
        self._origin = origin(self._client.base_url)
        self._lock = threading.Lock()
        self._answered = False
        self._failures = 0

    def __call__(self, data: bytes, name: str = "image") -> bytes:
        """The answer's bytes. Raises `ServerError`."""
        for attempt in range(1, TRIES + 1):
            last = attempt == TRIES
            try:
                response = self._client.post("segment", params=self._query, files={"file": (name, data)})
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                lost = isinstance(error, httpx.NetworkError | httpx.ConnectTimeout | httpx.RemoteProtocolError)
                if last or not lost or not self._answered:
                    reason = str(error) or type(error).__name__
                    stated = f"{self._origin} does not answer: {reason}; see that the service runs there"
                    raise self._failure(stated, isinstance(error, NOT_CONNECTED)) from error
                self._sleep(float(attempt))
                continue
            if response.status_code not in BUSY or last:
                break
            self._sleep(_wait(response, attempt))
        if response.status_code == httpx.codes.OK:
            self._check_answer(response)
        elif response.status_code not in OF_THE_IMAGE:
            raise self._failure(f"{self._origin}: {response.status_code} {_detail(response)}")
        with self._lock:
            self._answered, self._failures = True, 0
        if response.status_code != httpx.codes.OK:
            raise ServerError(f"{response.status_code} {_detail(response)}")
        return response.content

    def close(self) -> None:
        self._client.close()

    def _check_answer(self, response: httpx.Response) -> None:
        """Raises `ServerError` for what is no answer of the service, such as the page of a login."""
        kind = response.headers.get("Content-Type", self._media_type).partition(";")[0].strip().lower()
        came = kind if response.content else "an empty body"
        if came != self._media_type:
            expected = f"where {self._media_type} was expected"
            raise self._failure(f"{self._origin} answers {came} {expected}; see that --server is the service's address")

    def _failure(self, stated: str, not_connected: bool = False) -> ServerError:
        """The error for a failure that is not the image's own."""
        with self._lock:
            self._failures += 1
            hopeless = not_connected or not self._answered or self._failures >= self.workers
        return ServerUnusable(stated) if hopeless else ServerError(stated)


def _wait(response: httpx.Response, attempt: int) -> float:
    """Seconds that the service asks for, a minute at most; where it names none, or a date, one more each time."""
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), MOST_WAIT_S) if asked.isdecimal() else float(attempt)


def _detail(response: httpx.Response) -> str:
    if target := response.headers.get("Location"):
        return f"the service has moved to {target}; give that address"
    try:
        problem = response.json()
        return f"{problem['title']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
