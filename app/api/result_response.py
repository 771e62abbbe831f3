"""The file of a job's result as an answer, whole or in parts."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from app.api.errors import BadRequest, RangeNotSatisfiable
from app.serving.errors import ResultMissing
from app.serving.jobs.store import GONE


class ResultResponse(FileResponse):
    """Sends a file, or parts of it. Raises a problem for a part that it does not have, and for a file that is gone.

    reading: lasts as long as it.
    """

    def __init__(self, reading: AbstractContextManager[None], path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        self._reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        value, size = Headers(scope=scope).get("range", ""), self.headers["content-length"]
        scope = {**scope, "method": scope["state"]["method"]}  # of a HEAD, no byte is read
        starts = list[Message]()  # which waits until the file is open

        async def send_checked(message: Message) -> None:
            if message.get("status") == 416:
                detail = f"Range: {value} is not within the file, which has {size} bytes"
                raise RangeNotSatisfiable(detail, {"Content-Range": f"bytes */{size}"})
            if message.get("status") == 400:
                raise BadRequest(f"Range: {value} cannot be read; send bytes=FIRST-LAST, such as bytes=0-99, or leave it out")
            starts.append(message)
            while message["type"] == "http.response.body" and starts:
                await send(starts.pop(0))

        if value.partition("=")[0].strip().lower() != "bytes":  # such a range has no meaning (RFC 9110, section 14.2)
            scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"range"]}
        with self._reading:
            try:
                await super().__call__(scope, receive, send_checked)
            except FileNotFoundError as error:
                raise ResultMissing(GONE) from error
