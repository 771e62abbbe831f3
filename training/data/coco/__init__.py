"""Reads COCO's JSON as labelling tools export it."""
