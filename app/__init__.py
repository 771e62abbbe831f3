"""The HTTP service: settings, routes, the tile engine, telemetry and the web page."""

import model  # noqa: F401  before torch: it says how OpenMP waits
