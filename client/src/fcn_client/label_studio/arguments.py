"""The arguments of `fcn-label-studio`. This module needs no package of the extra."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from typing import NoReturn, get_args

from fcn_client.label_studio.studio import SETUP_S
from fcn_client.parameters import Quality

PROG = "fcn-label-studio"
WRONG_ARGUMENTS = 2
ENVIRONMENT = """environment:
  LABEL_STUDIO_URL      Label Studio's address (default: the address that Label Studio sends)
  LABEL_STUDIO_API_KEY  a key of a user who may see the images (default: the key that Label Studio sends)
  FCN_API_KEY           the key of the segmentation service
  BASIC_AUTH_USER, BASIC_AUTH_PASS  user and password that Label Studio must send, as its Basic authentication
"""


class Parser(argparse.ArgumentParser):
    """Tells wrong arguments in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_ARGUMENTS, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = Parser(
        PROG,
        description="A backend for Label Studio: it gets brush or polygon labels for images from a segmentation service.",
        epilog=ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{PROG} {version('fcn-client')}")
    parser.add_argument("--service", default="http://127.0.0.1:8000", metavar="URL", help="the service (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="the interface to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=9090, help="the port to listen on (default: %(default)s)")
    parser.add_argument("--model", help="one of the service's models (default: its first)")
    parser.add_argument(
        "--aliases", default="", metavar="CLASS=LABEL,...", help="labels of classes that have another name in Label Studio"
    )
    parser.add_argument(
        "--min-area", metavar="AREA", help="smaller regions take a neighbour's class: pixels, or a share such as 0.1%%"
    )
    parser.add_argument(
        "--fill-holes", metavar="AREA", help="smaller holes take the class around them: pixels, or a share such as 0.1%%"
    )
    parser.add_argument("--tolerance", type=float, metavar="PX", help="how far a polygon's point may move, in pixels")
    parser.add_argument("--quality", choices=get_args(Quality), help="high: about eight times the work")
    parser.add_argument(
        "--setup-timeout", type=float, default=SETUP_S, metavar="SECONDS",
        help="how long the service may take to name its models; below Label Studio's ML_TIMEOUT_SETUP (default: %(default)s)",
    )  # fmt: skip
    return parser
