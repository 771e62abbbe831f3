"""The command line: segments files and folders without a server."""

import model  # noqa: F401  before torch: it says how OpenMP waits
