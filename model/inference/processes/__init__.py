"""Worker processes: starting, messages, and their main function."""
