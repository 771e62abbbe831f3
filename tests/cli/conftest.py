"""The command with the narrow network, and a service that is full at first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.main import main
from tests.support.cli.busy_service import Busy
from tests.support.cli.folders import Segment


@pytest.fixture
def run(narrow_file: Path) -> Segment:
    """Runs the command with the narrow network; gives its exit status."""

    def run(*arguments: object) -> int:
        options = ["--weights", str(narrow_file), "--device", "cpu", "--precision", "float32", "--threads", "1"]
        return main([*options, *map(str, arguments)])

    return run


@pytest.fixture
def busy(request: pytest.FixtureRequest) -> Iterator[Busy]:
    with Busy(request.param) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
