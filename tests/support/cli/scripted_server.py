"""A server that answers images as its script says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.support import http_servers

MASK = (200, {"Content-Type": "image/png"}, b"mask")
Answer = tuple[int, Mapping[str, str], bytes]


class ScriptedServer(http_servers.LoopbackServer):
    """Gives each image the next of `answers`, and the last one to all that follow; status 0 closes the connection.

    models: the models that `/info` names in turn; no `/info` if there are none. requests: path and API key of each image.
    """

    def __init__(self, *answers: Answer) -> None:
        super().__init__(Handler)
        self.answers, self.models = list(answers), list[str]()
        self.requests: list[tuple[str, str | None]] = []


class Handler(http_servers.Handler):
    server: ScriptedServer

    def get(self) -> None:
        models = self.server.models
        model = (models.pop(0) if len(models) > 1 else models[0]) if models else None
        info = {"model": {"name": model}, "runtime": {}, "tile": 512, "versions": {}}
        self.answer(200 if model else 404, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def post(self) -> None:
        self.body()
        self.server.requests.append((self.path, self.headers["X-API-Key"]))
        answers = self.server.answers
        status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
        if status:
            self.answer(status, body, headers)
        else:
            self.close_connection = True


@contextmanager
def scripted(*answers: Answer) -> Iterator[ScriptedServer]:
    with http_servers.running(ScriptedServer(*answers)) as server:
        yield server
