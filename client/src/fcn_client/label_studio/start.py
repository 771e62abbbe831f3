"""The entry point of `fcn-label-studio`. Packages of the extra are imported later, so that it can say which one is missing."""

from __future__ import annotations

import sys
from importlib import import_module

MISSING = 2


def main() -> int:
    """Runs the command. Returns its exit status, or `MISSING` if the extra `label-studio` is not installed."""
    try:
        command = import_module("fcn_client.label_studio.command")
    except ModuleNotFoundError as error:
        import_module("fcn_client.label_studio.arguments").parser().parse_args()  # --help and --version need no extra
        print(f"fcn-label-studio: {error}; install the client with its extra: './client[label-studio]'", file=sys.stderr)
        return MISSING
    status: int = command.main()
    return status
