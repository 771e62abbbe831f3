"""The contracts of managed platforms, one a file: which variables they set, which routes they ask for."""
