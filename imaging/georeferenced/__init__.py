"""Rasters with coordinates: reading by windows, scaling bands to 8 bits, writing rasters and polygons.

Needs the extra `geo`. Only this folder imports rasterio and pyogrio.
"""
