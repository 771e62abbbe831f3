"""Measurement programs: `fcn-bench`, and the figures of studies that `docs/models.md` and `docs/accuracy.md` show."""

import model.openmp  # noqa: F401
