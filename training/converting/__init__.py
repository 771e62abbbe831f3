"""Makes a weights file of another program's ONNX file: `fcn-convert`. It needs onnx and ONNX Runtime, not PyTorch."""
