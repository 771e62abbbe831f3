"""The service keeps what its OpenAPI document says, whatever is sent: schemathesis asks it, and checks the answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.support.app.exchanges import count_of
from tests.support.app.services import module_client
from tests.support.checkout import ROOT
from tests.support.polling import LONGEST_S
from tests.support.servers import over_http
from tests.support.variants import long

# of a good request a document cannot say everything: whether bytes are an image, which models there are, which sizes fit
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "400", "404", "406", "412", "413", "415", "422"]
[[operations]]
include-path = "/v1/predict"  # its failures are answers of 200
checks.negative_data_rejection.expected-statuses = ["200"]
"""


client = module_client(max_queued_tiles=16, max_megapixels=0.01)


@pytest.mark.parametrize("examples", [15, *long(150)])
def test_the_document_is_kept(client: TestClient, examples: int, tmp_path: Path) -> None:
    """With few examples, drawn ones alone: those of every limit of every parameter take a minute."""
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.support.app.schemathesis_images"}
    with over_http(client) as port:
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{port}/openapi.json", "--checks", "all",
            "--max-examples", str(examples), *(["--phases", "fuzzing"] if examples < 100 else []),
            "--generation-deterministic", "--continue-on-failure", "--no-color", "--request-timeout", "60",
        ]  # fmt: skip
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LONGEST_S)
    assert result.returncode == 0, result.stdout
    assert "Operations:       15 selected / 15 total" in result.stdout
    counts = {status: count_of(client, status) for status in (200, 413, 415, 422)}
    assert min(counts.values()) > (examples > 100), counts
