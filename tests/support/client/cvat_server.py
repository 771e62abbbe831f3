"""A stand-in for CVAT's server: one task with one photograph and one label. It keeps the annotations that come."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit

from tests.support import http_servers

TASK, LABEL = 7, 70


class CvatServer(http_servers.LoopbackServer):
    """answers: by the path. annotations: those that were sent."""

    def __init__(self, photo: bytes, size: tuple[int, int], label: str) -> None:
        self.annotations: list[dict[str, Any]] = []
        self.answers = answers(photo, size, label)
        super().__init__(Handler)


class Handler(http_servers.Handler):
    server: CvatServer

    def get(self) -> None:
        self._answer(self.server.answers.get(urlsplit(self.path).path))

    def patch(self) -> None:
        self.server.annotations.append(json.loads(self.body()))
        self._answer({"version": 0, "tags": [], "shapes": [], "tracks": []})

    def _answer(self, content: bytes | dict[str, Any] | None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content or {}).encode()
        kind = "application/zip" if isinstance(content, bytes) else "application/json"
        self.answer(404 if content is None else 200, body, {"Content-Type": kind})


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


def cvat_server(photo: bytes, size: tuple[int, int], label: str) -> AbstractContextManager[CvatServer]:
    return http_servers.running(CvatServer(photo, size, label))
