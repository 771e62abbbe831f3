"""`fcn-bench`: the measurements in `benchmarks/`, which come with a checkout and not with the installed package."""

from __future__ import annotations

import importlib
import sys


def main() -> int:
    try:
        benchmarks = importlib.import_module("benchmarks.main")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "benchmarks":
            raise
        print("fcn-bench: there is no benchmarks/ here; run it in a checkout, installed with `make test`", file=sys.stderr)
        return 2
    status: int = benchmarks.main()
    return status
