"""`fcn-segment` for scenes: rasters with coordinates, of any size. Needs the extra `geo`."""
