"""Reads what labelling tools export, and draws its objects as masks."""
