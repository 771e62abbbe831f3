"""The FCN family in PyTorch: backbones, heads and decoders, with functions that build and load them."""

import model.openmp  # noqa: F401
