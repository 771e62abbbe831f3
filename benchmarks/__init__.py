"""Measurement programs: `fcn-bench`, and the studies that make `docs/models.md` and `docs/accuracy.md`."""

import model.openmp  # noqa: F401
