"""The opacity of cut-outs before blocks of JPEGs were removed: one round of the guided filter, which follows noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imaging import cutout
from imaging.cutout import Scale
from imaging.deblocking import Blocks

Pixels = npt.NDArray[np.uint8]
ROUNDS = ((2.0, 3.0),)
SMOOTHNESS = 1e-4
NO_BLOCKS = Blocks((0, 0), (0.0, 0.0))


def former_opacity(photo: Pixels, inside: npt.NDArray[np.bool_], foreground: Pixels, cell: float) -> Pixels:
    """The opacity, uint8 (H, W), without the flattening of islands; arguments as for `imaging.cutout.refined`."""
    scale = Scale.of(inside.shape, cell)
    colors = cutout.reduced_colors(photo, scale)
    return cutout.refined(photo, NO_BLOCKS, colors, inside, foreground, scale, rounds=ROUNDS, smoothness=SMOOTHNESS)
