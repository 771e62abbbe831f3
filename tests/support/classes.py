"""The classes of the narrow network, which `benchmarks/harness/narrow.py` makes of the generated shapes."""

NAMES = ["background", "circle", "square", "triangle"]
