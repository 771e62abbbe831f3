"""Sends images to a running service, whose answers have the same bytes as local ones."""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import httpx

from cli.address import ask, open_client, origin
from cli.arguments import LOCAL, options, parser, service_arguments
from cli.report import Result, as_options
from common.command_line import settings_digest
from imaging.object_facts import image_row, read_object_headers
from imaging.rendering import Rendering
from model.inference.plan import PARAMETERS

TRIES = 6
MOST_BYTES, MOST_INFO_BYTES = 4 << 30, 16 << 20  # of an answer, and of what the service says of itself
MOST_WAIT_S = 60.0  # longest wait before a retry, whatever the service asks for
BUSY = {429, 502, 503}  # the service, or a proxy before it, may answer later
OF_THE_IMAGE = {400, 408, 412, 413, 415, 422, 504}  # errors of one image; others may still be answered
CONNECT_ERRORS = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


class ServerError(OSError):
    """The service answered with an error or not at all, or the arguments do not suit a service."""


class ServerUnusable(ServerError):
    """The service will answer no image: nothing answers at the address, the key is wrong, or it is another service."""


class Remote:
    """Turns an image file's bytes into the service's answer. Several threads may call it at once.

    A failure that is not the image's own raises `ServerUnusable` until the first answer for an image, and again after `workers`
    such failures in a row. `_lock` guards `_has_answered` and `_failures`.
    """

    workers = 8  # requests at once: more than the cores of most machines, but few compared with a service's queue

    def __init__(self, args: argparse.Namespace, sleep: Callable[[float], None] = time.sleep) -> None:
        refuse_local(args)
        answer = options(args).rendering
        query = {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in service_arguments(args).items()
        }
        model = {"model": args.model} if args.model else {}
        self._query = query | model
        self._media_type = answer.media_type
        of_network = {name: value for name, value in query.items() if not PARAMETERS[name].formats}
        self._facts_query = of_network | model | {"format": "json"} if args.rank is not None else None
        self._sleep = sleep
        self._client = open_client(args.server, args.api_key)
        self._origin = origin(self._client.base_url)
        self._lock = threading.Lock()
        self._has_answered = False
        self._failures = 0

    def settings_digest(self) -> str | None:
        """A digest of what answers depend on: the query, and the model that the service's `/info` describes.

        None if the service does not describe it. Raises `ServerUnusable` if nothing answers at the address.
        """
        try:
            model = {"model": self._query["model"]} if "model" in self._query else {}
            info = ask(self._client, self._client.build_request("GET", "info", params=model), MOST_INFO_BYTES).json()
            return settings_digest(self._query, *(info[name] for name in ("model", "runtime", "tile")), info["versions"])
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServerUnusable(self._silence(error)) from error
        except (ValueError, KeyError, TypeError):
            return None

    def __call__(self, data: bytes, name: str = "image") -> Result:
        """The answer. For `--rank` the service is asked once more, as JSON, for facts about the image. Raises `ServerError`."""
        response = self._segment(data, name, self._query, self._media_type)
        try:
            facts, remark = read_object_headers(response.headers), response.headers.get("X-Remark", "")
            result = Result(response.content, facts=facts, remark=remark)
        except ValueError as error:
            raise ServerError(f"{self._origin} answers what is not read: {error}") from error
        if self._facts_query is None:
            return result
        same = self._facts_query == self._query
        answer = response if same else self._segment(data, name, self._facts_query, Rendering("json").media_type)
        return _with_facts(result, answer.content)

    def _segment(self, data: bytes, name: str, query: Mapping[str, str], media_type: str) -> httpx.Response:
        """The answer of this media type."""
        for attempt in range(1, TRIES + 1):
            last = attempt == TRIES
            try:
                request = self._client.build_request("POST", "segment", params=query, files={"file": (name, data)})
                response = ask(self._client, request, MOST_BYTES)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                is_lost = isinstance(error, httpx.NetworkError | httpx.ConnectTimeout | httpx.RemoteProtocolError)
                if last or not is_lost or not self._has_answered:
                    raise self._failure(self._silence(error), isinstance(error, CONNECT_ERRORS)) from error
                self._sleep(float(attempt))
                continue
            if response.status_code not in BUSY or last:
                break
            self._sleep(_wait(response, attempt))
        if response.status_code == httpx.codes.OK:
            self._check_answer(response, media_type)
        elif response.status_code not in OF_THE_IMAGE:
            raise self._failure(f"{self._origin}: {response.status_code} {detail_of(response)}")
        with self._lock:
            self._has_answered, self._failures = True, 0
        if response.status_code != httpx.codes.OK:
            raise ServerError(f"{response.status_code} {detail_of(response)}")
        return response

    def close(self) -> None:
        self._client.close()

    def _silence(self, error: Exception) -> str:
        if isinstance(error, httpx.DecodingError):
            return f"{self._origin} answers what is not read: {error}; see that --server is the service's address"
        return f"{self._origin} does not answer: {str(error) or type(error).__name__}; see that the service runs there"

    def _check_answer(self, response: httpx.Response, media_type: str) -> None:
        """Raises `ServerError` for an answer that is not the service's, such as a login page."""
        kind = response.headers.get("Content-Type", media_type).partition(";")[0].strip().lower()
        content = kind if response.content else "an empty body"
        if content != media_type:
            reason = f"where {media_type} was expected"
            raise self._failure(f"{self._origin} answers {content} {reason}; see that --server is the service's address")

    def _failure(self, message: str, is_unreachable: bool = False) -> ServerError:
        """Counts a failure that is not the image's own, and returns its error."""
        with self._lock:
            self._failures += 1
            hopeless = is_unreachable or not self._has_answered or self._failures >= self.workers
        return ServerUnusable(message) if hopeless else ServerError(message)


def refuse_local(args: argparse.Namespace) -> None:
    """Raises `ServerError` for an argument that the service sets."""
    if names := [name for name in LOCAL if getattr(args, name) != parser().get_default(name)]:
        raise ServerError(f"--{names[0].replace('_', '-')} is set by the service; leave it out with --server")


def _with_facts(result: Result, document: bytes) -> Result:
    """The result with what a JSON answer says of the image. Raises `ServerError` for another document."""
    try:
        answer = json.loads(document)
        size, classes = answer["image"], answer["classes"]
        shares = {entry["name"]: float(entry["fraction"]) for entry in classes}
        confidence = None
        if all(entry["mean_confidence"] is not None for entry in classes):
            sums = [(int(entry["pixels"]), float(entry["mean_confidence"])) for entry in classes]
            confidence = round(sum(pixels * mean for pixels, mean in sums) / sum(pixels for pixels, _ in sums), 6)
        return replace(result, row=image_row((int(size["height"]), int(size["width"])), shares, confidence))
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise ServerError("the service's JSON does not say the confidence of the classes; --rank needs that") from error


def _wait(response: httpx.Response, attempt: int) -> float:
    """Seconds to wait before the next attempt: the number in `Retry-After`, at most `MOST_WAIT_S`.

    Without such a number (the header is missing or holds a date), as many seconds as attempts were made.
    """
    value = response.headers.get("Retry-After", "")
    return min(float(value), MOST_WAIT_S) if value.isdecimal() else float(attempt)


def detail_of(response: httpx.Response) -> str:
    """What an answer that is an error says."""
    if target := response.headers.get("Location"):
        return f"the service has moved to {target}; give that address"
    try:
        problem = response.json()
        return f"{problem['title']}: {as_options(str(problem['detail']))}"
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
