"""The harness: it runs, checks the answers, and reports what it measured."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_a_quick_run_reports_every_row_with_machine_and_commit(tmp_path: Path) -> None:
    out = tmp_path / "RESULTS.md"
    command = [sys.executable, "-c", "import sys; from cli.bench import main; sys.exit(main())", "--quick", "--out", str(out)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stderr
    text = out.read_text()
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) (ms|images/s) \| ([\d.]+) to ([\d.]+) \|$", text, re.MULTILINE)
    assert [row[0].split(",")[0] for row in rows] == [
        "384x480 tile", "384x480 tile", "one image", "one request", "4 clients", "16 clients",
    ]  # fmt: skip
    for _, median, _, low, high in rows:
        assert 0 < float(low) <= float(median) <= float(high)
    assert "commit" in text
    assert len(re.findall(r"^- .+: [\d.]+$", text, re.MULTILINE)) == 3
