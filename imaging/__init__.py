"""Bytes to upright RGB arrays within limits, and class maps to PNG, RLE, JSON parts and overlays."""
