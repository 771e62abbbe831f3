"""The ablation study: trains the rows of `accuracy.toml` and writes `docs/accuracy.json`.

    python -m benchmarks.studies.accuracy --out runs/accuracy

The rows refer to their data and start weights as `data/` and `start/` in the checkout.
`benchmarks.studies.documents` makes the page.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.studies.trainings import ROOT, read_table, results, run_rows

TABLE = Path(__file__).with_name("accuracy.toml")
RESULTS = ROOT / "docs" / "accuracy.json"


def main() -> int:
    parser = argparse.ArgumentParser("benchmarks.studies.accuracy", description="Runs the ablation's trainings.")
    parser.add_argument("--out", type=Path, default=Path("runs/accuracy"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("rows", nargs="*", help="names of rows (default: all)")
    args = parser.parse_args()
    table = read_table(TABLE)
    run_rows(table, args.out, args.rows, args.threads)
    RESULTS.write_text(json.dumps(results(table, args.out), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
