"""`fcn-label-studio`: serves the backend."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import httpx
import uvicorn

from fcn_client.calls import Options
from fcn_client.label_studio.app import Settings, create_app
from fcn_client.label_studio.arguments import PROG, WRONG_ARGUMENTS, parser
from fcn_client.label_studio.studio import Studio
from fcn_client.matching import parse_aliases


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until it is stopped. Returns the exit status."""
    arguments = parser().parse_args(argv)
    environment = os.environ
    options: Options = {
        "model": arguments.model, "min_area": arguments.min_area, "fill_holes": arguments.fill_holes,
        "quality": arguments.quality,
    }  # fmt: skip
    try:
        for name in ("BASIC_AUTH_USER", "BASIC_AUTH_PASS"):
            if environment.get(name) == "":
                raise ValueError(f"{name} is set and empty; give it a value, or unset it for no password")
        studio = Studio(environment.get("LABEL_STUDIO_URL", ""), environment.get("LABEL_STUDIO_API_KEY", ""))
        if studio.key and not studio.url:
            raise ValueError(
                "LABEL_STUDIO_API_KEY needs LABEL_STUDIO_URL, the only address that the key is sent to; set it too"
            )
        if studio.url and httpx.URL(studio.url).scheme not in ("http", "https"):
            raise ValueError(f"LABEL_STUDIO_URL must be an address such as http://127.0.0.1:8080, got {studio.url!r}")
        settings = Settings(
            service=arguments.service,
            api_key=environment.get("FCN_API_KEY"),
            options=options,
            tolerance=arguments.tolerance,
            aliases=parse_aliases(arguments.aliases),
            studio=studio,
            user=environment.get("BASIC_AUTH_USER", ""),
            password=environment.get("BASIC_AUTH_PASS", ""),
            setup_timeout=arguments.setup_timeout,
        )
        app = create_app(settings)
    except (ValueError, httpx.InvalidURL) as error:
        print(f"{PROG}: {error}", file=sys.stderr)
        return WRONG_ARGUMENTS
    logging.basicConfig(level=logging.INFO, format=f"{PROG}: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    print(f"{PROG}: give Label Studio http://{arguments.host}:{arguments.port} as a model's URL", file=sys.stderr, flush=True)
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning")
    return 0
