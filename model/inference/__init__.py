"""Turns an image file into an answer: tiling, runtimes, merging, argmax. Only the torch runtime needs PyTorch."""

import sys

# if openvino_telemetry can be imported, `import openvino` sends usage data to Google Analytics; this blocks the import
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
