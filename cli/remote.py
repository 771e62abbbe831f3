"""Sends images to a running service, which answers the same bytes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import httpx

from cli.arguments import LOCAL, SERVED, parser

TRIES = 6
TIMEOUT_S = 300.0


class ServerError(OSError):
    """What a service answered instead of a mask, or that it did not answer."""


class Remote:
    """From an image file's bytes to the service's answer; for several threads at once."""

    workers = 8  # requests at once: more than most machines have cores, few beside what a service queues

    def __init__(self, args: argparse.Namespace, sleep: Callable[[float], None] = time.sleep) -> None:
        given = [name for name in LOCAL if getattr(args, name) != parser().get_default(name)]
        if given:
            raise ServerError(f"--{given[0].replace('_', '-')} is the service's to choose; leave it out with --server")
        query = {name: str(value) for name in SERVED if (value := getattr(args, name)) is not False}
        self._query = query | ({"model": args.model} if args.model else {})
        self._sleep = sleep
        headers = {"X-API-Key": args.api_key} if args.api_key else {}
        self._client = httpx.Client(base_url=args.server.rstrip("/") + "/", headers=headers, timeout=TIMEOUT_S)

    def __call__(self, data: bytes, name: str = "image") -> bytes:
        """The answer's bytes. Raises `ServerError`."""
        for attempt in range(1, TRIES + 1):
            try:
                response = self._client.post("segment", params=self._query, files={"file": (name, data)})
            except httpx.HTTPError as error:
                raise ServerError(f"{self._client.base_url} does not answer: {error}") from error
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or attempt == TRIES:
                break
            self._sleep(_wait(response, attempt))
        if not response.is_success:
            raise ServerError(f"{response.status_code} {_detail(response)}")
        return response.content

    def close(self) -> None:
        self._client.close()


def _wait(response: httpx.Response, attempt: int) -> float:
    """Seconds that the service asks for; where it names none, or a date, one more each time."""
    asked = response.headers.get("Retry-After", "")
    return float(asked) if asked.isdigit() else float(attempt)


def _detail(response: httpx.Response) -> str:
    try:
        problem = response.json()
        return f"{problem['title']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
