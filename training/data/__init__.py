"""Data sets on disk: layouts, masks, label files and splits."""
