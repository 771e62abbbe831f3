"""A stand-in for CVAT's server: one task with one photograph and one label. It keeps the annotations that come."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

TASK, LABEL = 7, 70


class CvatServer(ThreadingHTTPServer):
    """answers: by the path. annotations: those that were sent."""

    def __init__(self, photo: bytes, size: tuple[int, int], label: str) -> None:
        self.annotations: list[dict[str, Any]] = []
        self.answers = answers(photo, size, label)
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: CvatServer

    def do_GET(self) -> None:
        self.answer(self.server.answers.get(urlsplit(self.path).path))

    def do_PATCH(self) -> None:
        self.server.annotations.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer({"version": 0, "tags": [], "shapes": [], "tracks": []})

    def answer(self, content: bytes | dict[str, Any] | None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content or {}).encode()
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Type", "application/zip" if isinstance(content, bytes) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def answers(photo: bytes, size: tuple[int, int], label: str) -> dict[str, bytes | dict[str, Any]]:
    chunk = io.BytesIO()
    with zipfile.ZipFile(chunk, "w") as archive:
        archive.writestr("000000.jpeg", photo)
    task = {
        "id": TASK, "name": "trial", "mode": "annotation", "dimension": "2d", "size": 1, "data": 1, "data_chunk_size": 1,
        "data_original_chunk_type": "imageset", "status": "annotation", "project_id": None, "organization": None,
        "updated_date": "2026-01-01T00:00:00Z",
        "jobs": {"count": 1, "completed": 0, "validation": 0, "url": ""}, "labels": {"url": ""},
    }  # fmt: skip
    meta = {
        "image_quality": 70, "chunks_updated_date": "2026-01-01T00:00:00Z", "start_frame": 0, "stop_frame": 0,
        "frame_filter": "", "deleted_frames": [], "included_frames": None, "chunk_size": 1, "size": 1,
        "frames": [{"width": size[0], "height": size[1], "name": "photo.jpg", "related_files": 0}],
    }  # fmt: skip
    entry = {
        "id": LABEL,
        "name": label,
        "color": "#ffffff",
        "attributes": [],
        "type": "any",
        "sublabels": [],
        "has_parent": False,
    }
    return {
        "/api/server/about": {"name": "CVAT", "description": "", "version": "2.80.0", "logo_url": "", "subtitle": ""},
        f"/api/tasks/{TASK}": task,
        f"/api/tasks/{TASK}/data/meta": meta,
        f"/api/tasks/{TASK}/data/": chunk.getvalue(),
        "/api/labels": {"count": 1, "next": None, "previous": None, "results": [entry]},
    }


@contextmanager
def cvat_server(photo: bytes, size: tuple[int, int], label: str) -> Iterator[CvatServer]:
    with CvatServer(photo, size, label) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
