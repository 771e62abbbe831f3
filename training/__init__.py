"""Data sets, augmentation, training, evaluation, export and plots.

The package needs PyTorch: `pip install 'fcn-segment[train]'`.
"""

from importlib.util import find_spec

if find_spec("torch") is None:
    raise ModuleNotFoundError("training, evaluation and export need PyTorch: pip install 'fcn-segment[train]'", name="torch")
