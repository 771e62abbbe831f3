"""Networks of the literature, written from their descriptions with plain PyTorch, to compare ours with.

Nothing here is imported from `model/`. `NAMES` of each file maps the layers of the reference to ours.
"""
