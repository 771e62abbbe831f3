"""Work that outlives a request: jobs, each in a folder of its own, which goes on after a restart."""
