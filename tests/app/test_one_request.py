"""The way of a request as `docs/design.md` tells it: the files whose code runs are those that the page names."""

from __future__ import annotations

import base64
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import app
from tests.support.app.exchanges import PHOTO
from tests.support.app.services import Serve
from tests.support.checkout import ROOT

APP = Path(app.__file__).parent
DECLARATIONS = {"api/schemas.py", "api/errors.py"}  # a request without an error calls no function of them
EVERY_SECOND = {"serving/watchdog.py"}  # of no request
CONNECTIONS = {"connections.py"}  # of a server, which the test's client does without


class Recorder:
    """The files of `app/` in which a function is called while `on`, on threads that begin while it is installed."""

    def __init__(self) -> None:
        self.on = False
        self.files: set[str] = set()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if self.on and event == "call" and path.is_relative_to(APP):
            self.files.add(path.relative_to(APP).as_posix())

    @contextmanager
    def install(self) -> Iterator[None]:
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


def test_the_files_that_a_request_passes_are_those_of_the_page(serve: Serve) -> None:
    recorder = Recorder()

    def files_of(**body: Any) -> set[str]:
        recorder.files, recorder.on = set(), True
        assert client.post("/segment", **body).status_code == 200
        recorder.on = False
        return recorder.files - EVERY_SECOND | DECLARATIONS | CONNECTIONS

    with recorder.install(), serve() as client:
        raw, form = files_of(content=PHOTO), files_of(files={"file": ("photo", PHOTO)})
        json = files_of(json={"inputs": base64.b64encode(PHOTO).decode()})
    page = (ROOT / "docs" / "design.md").read_text()
    section = page[page.index("## One request") :]
    section = section[: section.index("\n## ")]
    assert raw | form | json == set(re.findall(r"`((?:\w+/)?\w+\.py)`", section))
    assert (form - raw, json - raw) == ({"api/forms.py"}, set())
    table = set(re.findall(r"`((?:\w+/)?\w+\.py)`", section[section.index("| step |") : section.index("Errors of")]))
    assert len(table - CONNECTIONS - {"exchange.py"}) == 11
    assert table <= raw
