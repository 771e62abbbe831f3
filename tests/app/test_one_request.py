"""The way of a request as `docs/design.md` tells it: the files whose code runs are those that the page names."""

from __future__ import annotations

import base64
import pickle
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import numpy as np

from app.connections import Connections
from imaging.decoding import Limits
from model.inference.merging import Logits
from model.inference.plan import Options
from model.inference.runtime import Tile
from model.inference.segmenter import Segmenter
from tests.support.app.exchanges import PHOTO, service_of
from tests.support.app.services import Serve
from tests.support.checkout import ROOT
from tests.support.servers import over_http

ROOMS = ("app", "common", "imaging", "model")
EVERY_SECOND = {"watchdog.py"}  # of no request
AT_TIMES = {"runtime.py"}  # asked for the size of a batch if several tiles wait at one moment
FACTS = {"labels.py", "manifest.py", "preprocessing.py", "architecture.py", "parameters.py", "classes.py"}  # of networks
MEASURES = {"object_facts.py"}  # of a class map
SEVERAL = {"schemas.py", "errors.py", "settings.py", "telemetry.py", "security.py", "origins.py"}  # of several steps
BEFORE = {"main.py", "server.py"}  # run once, when the service starts
WORKER = {"worker_process.py", "confinement.py"}  # in a process of its own
MOST_FILES, MOST_NAMED = 53, 46


@contextmanager
def noted() -> Iterator[set[str]]:
    """The files of our own in which a function is called meanwhile, on this thread and those that begin."""
    seen: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in ROOMS:
            seen.add(path.name)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield seen
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def test_the_files_that_a_request_passes_are_those_of_the_page(serve: Serve) -> None:
    def files_of(**body: Any) -> set[str]:
        seen.clear()
        assert httpx.post(url, timeout=60, **body).status_code == 200
        return seen - EVERY_SECOND - AT_TIMES

    with (
        noted() as seen,
        serve() as client,
        over_http(client, Connections(1000, service_of(client).clients).protocol) as port,
    ):
        url = f"http://127.0.0.1:{port}/segment"
        raw, form = files_of(content=PHOTO), files_of(files={"file": ("photo", PHOTO)})
        json = files_of(json={"inputs": base64.b64encode(PHOTO).decode()})
        (model,) = service_of(client).registry.models.values()
        seen.clear()
        segment_in_worker(Segmenter(pickle.loads(model.pickled_runtime), Limits()))
        in_worker = seen - EVERY_SECOND
    assert (form - raw, json - raw) == ({"form_parser.py", "forms.py"}, set())
    page = (ROOT / "docs" / "design.md").read_text()
    section = page[page.index("## One request") :]
    section = section[: section.index("\n## ")]
    named = {Path(name).name for name in re.findall(r"`([\w/]+\.py)`", section[: section.index("Errors of")])}
    files = raw | form | in_worker
    formats = {path.name for path in (ROOT / "imaging" / "formats").iterdir()}
    assert files - formats - FACTS - MEASURES - SEVERAL <= named
    assert named - formats - BEFORE - WORKER - AT_TIMES <= files
    assert named >= BEFORE | WORKER
    assert len(named) <= MOST_NAMED
    assert named >= AT_TIMES
    assert len(files | WORKER) <= MOST_FILES


def segment_in_worker(segmenter: Segmenter) -> None:
    """What a worker does with the photo. All its logits are 0."""

    def run(tiles: Iterator[Tile]) -> Iterator[Logits]:
        for tile in tiles:
            yield np.zeros((3, tile.shape[0] // 8, tile.shape[1] // 8), np.float32)

    plan = segmenter.plan(PHOTO, Options(tile=(96, 96)))
    segmenter.memory_bytes(PHOTO, plan)
    segmenter.segment(PHOTO, plan, run)
