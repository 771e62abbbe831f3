"""Data sets, joint transforms, training, evaluation and plots."""
