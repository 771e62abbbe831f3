"""The HTTP service: settings, routes, the tile engine, telemetry and the web page."""
