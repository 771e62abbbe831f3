"""Networks, tiling, predictor, weights files, label sets and metrics of the segmentation service."""

import os

# Turns that an OpenMP helper waits with its core held, read when torch is loaded. GNU's own choice is many milliseconds, after
# each of a tile's layers, in which a helper that shares its core with another process gets nowhere
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
