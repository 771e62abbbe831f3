"""The runtimes: OpenVINO and PyTorch."""
