"""Scenes: rasters with coordinates, of any size. All but `rows` needs the extra `geo`."""
