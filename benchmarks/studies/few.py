"""What augmentations are worth with sixty photographs: trains the rows of `few.toml`, and prints their scores.

    python -m benchmarks.studies.few --camvid data/camvid --out runs/few

The photographs are every sixth of CamVid's train; val is whole. After an interruption, the same command continues: a row with
weights is not trained again. The printed table has the rows that are done.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from benchmarks.studies.trainings import Table, difference, markdown_table, read_table, results, run_rows

TABLE = Path(__file__).with_name("few.toml")
EVERY = 6


def main() -> int:
    parser = argparse.ArgumentParser("benchmarks.studies.few", description="Trains on sixty photographs, with augmentations.")
    parser.add_argument("--camvid", type=Path, default=Path("data/camvid"), help="CamVid in the layout of the SegNet tutorial")
    parser.add_argument("--out", type=Path, default=Path("runs/few"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, help="JSON that the page of accuracy is made from (default: OUT/few.json)")
    parser.add_argument("rows", nargs="*", help="names of rows (default: all)")
    args = parser.parse_args()
    link_photographs(args.camvid, args.out / "camvid")
    table = read_table(TABLE)
    run_rows(table, args.out, args.rows, args.threads)
    rows = results(table, args.out)
    (args.results or args.out / "few.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(scores(table, rows))
    return 0


def link_photographs(camvid: Path, folder: Path) -> None:
    """Makes a data set of links: every sixth frame of train, and val."""
    for name, every in (("train", EVERY), ("trainannot", EVERY), ("val", 1), ("valannot", 1)):
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted((camvid / name).iterdir())[::every]:
            link = target / path.name
            if not link.is_symlink():
                link.symlink_to(path.resolve())


def scores(table: Table, rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of the rows that are done: mean over the seeds, deviation, and the difference from the first row."""
    what = {row.name: row.what for row in table.rows}
    cells = [
        (
            f"*{row['name']}*: {what[row['name']]}",
            f"{row['mean_iou']:.3f}",
            f"{stdev(row['seeds']):.3f}",
            difference(row, rows[0]) if row is not rows[0] else "",
        )
        for row in rows
    ]
    return markdown_table(["change", "mean IoU", "standard deviation", "difference"], cells)


if __name__ == "__main__":
    sys.exit(main())
