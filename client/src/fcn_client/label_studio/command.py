"""`fcn-label-studio`: serves the backend. Packages of the extra are imported once the arguments are read."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, NoReturn, get_args

import httpx

from fcn_client.label_studio.studio import SETUP_S, Studio
from fcn_client.matching import parse_aliases
from fcn_client.parameters import Options, Quality

if TYPE_CHECKING:
    from starlette.applications import Starlette

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


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until it is stopped. Returns the exit status: 2 for wrong arguments, or if the extra is not installed."""
    arguments = parser().parse_args(argv)
    try:
        import uvicorn

        app = _app(arguments, os.environ)
    except ModuleNotFoundError as error:
        return _told(f"{error}; install the client with its extra: './client[label-studio]'")
    except (ValueError, httpx.InvalidURL) as error:
        return _told(str(error))
    logging.basicConfig(level=logging.INFO, format=f"{PROG}: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    print(f"{PROG}: give Label Studio http://{arguments.host}:{arguments.port} as a model's URL", file=sys.stderr, flush=True)
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning")
    return 0


def _app(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Starlette:
    """The backend. Raises `ValueError` for what cannot be used, and `ModuleNotFoundError` without the extra."""
    from fcn_client.label_studio.app import Settings, create_app

    for name in ("BASIC_AUTH_USER", "BASIC_AUTH_PASS"):
        if environment.get(name) == "":
            raise ValueError(f"{name} is set and empty; give it a value, or unset it for no password")
    studio = Studio(environment.get("LABEL_STUDIO_URL", ""), environment.get("LABEL_STUDIO_API_KEY", ""))
    if studio.key and not studio.url:
        raise ValueError("LABEL_STUDIO_API_KEY needs LABEL_STUDIO_URL, the only address that the key is sent to; set it too")
    if studio.url and httpx.URL(studio.url).scheme not in ("http", "https"):
        raise ValueError(f"LABEL_STUDIO_URL must be an address such as http://127.0.0.1:8080, got {studio.url!r}")
    settings = Settings(
        service=arguments.service,
        api_key=environment.get("FCN_API_KEY"),
        options=Options(
            model=arguments.model, min_area=arguments.min_area, fill_holes=arguments.fill_holes, quality=arguments.quality
        ),
        tolerance=arguments.tolerance,
        aliases=parse_aliases(arguments.aliases),
        studio=studio,
        user=environment.get("BASIC_AUTH_USER", ""),
        password=environment.get("BASIC_AUTH_PASS", ""),
        setup_timeout=arguments.setup_timeout,
    )
    return create_app(settings)


def _told(problem: str) -> int:
    print(f"{PROG}: {problem}", file=sys.stderr)
    return WRONG_ARGUMENTS
