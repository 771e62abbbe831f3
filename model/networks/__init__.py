"""The FCN family in PyTorch: backbones, heads, decoders, and how they are built and loaded."""
