"""Makes tiles and masks of scenes and of polygons drawn in a GIS."""
