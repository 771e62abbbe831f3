"""Data sets, augmentation, training, evaluation, export and plots.

Training, evaluation and export need PyTorch, as the extra `train` has it.
"""

import model.openmp  # noqa: F401
