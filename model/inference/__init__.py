"""From an image's bytes to an answer's: tiling, runtimes, merging, argmax. Needs no PyTorch outside its torch runtime."""

import sys

# where this package is there, `import openvino` tells Google Analytics of itself; it is made to do without
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
