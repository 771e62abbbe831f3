"""Data sets, augmentation, training, evaluation, export and plots.

The package needs PyTorch, as the extra `train` has it.
"""

from importlib.util import find_spec

from model.command_line import install_command

if find_spec("torch") is None:
    raise ModuleNotFoundError(f"training, evaluation and export need PyTorch: {install_command('train')}", name="torch")
