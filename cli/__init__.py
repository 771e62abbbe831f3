"""The command line: segments files and folders without a server."""
