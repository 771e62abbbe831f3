"""Scores of the served path, their intervals, and calibration."""
