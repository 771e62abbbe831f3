"""Reads every frame of a data set once: records, remarks on what may be wrong, groups and folds."""
