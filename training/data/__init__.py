"""Data sets on disk: layouts, masks, label files, splits, and what is wrong with them."""
