"""Data sets on disk: layouts, masks, label files, splits, and checks for errors."""
