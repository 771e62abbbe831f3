"""Masks that the default weights gave in float32 for two free photos: they change only on purpose."""
