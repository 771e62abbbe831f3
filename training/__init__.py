"""Data sets, joint transforms, training, evaluation and plots."""

import model  # noqa: F401  before torch: it says how OpenMP waits
