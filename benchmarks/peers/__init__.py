"""Servers of other frameworks around the same `Segmenter`, to compare with our service: see README.md."""
