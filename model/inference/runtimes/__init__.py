"""The runtimes: OpenVINO and PyTorch."""

import model.openmp  # noqa: F401
