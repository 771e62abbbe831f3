"""Work on a scene in a process of its own, for jobs of the service: the process reads and writes, and the front runs tiles."""
