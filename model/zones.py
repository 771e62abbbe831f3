"""Which cells the same tiles cover, along an axis: within such a zone, averages may be interpolated as one map.

Across its border they may not: a pixel before the border is the average of its own tiles alone, and so are the two cells
that it lies between. Each zone is therefore kept with one more cell at either end, which holds what its own tiles say (a
tile that ends there repeats its last cell). With weights that are constant in a zone, interpolating averages then gives what
averaging interpolated tiles does; with weights that rise and fall, as `hann`, nearly so.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Zones:
    """Zones between these edges, in cells: zone k begins at `edges[k]`."""

    edges: tuple[int, ...]

    @classmethod
    def of(cls, origins: tuple[int, ...], side: int) -> Zones:
        """Of tiles with this side at these origins, in cells."""
        return cls(tuple(sorted({*origins, *(origin + side for origin in origins)})))

    @property
    def length(self) -> int:
        """Cells along the axis, with those that are kept twice."""
        return self.edges[-1] + 2 * (len(self.edges) - 1)

    def zone(self, cell: int) -> int:
        """The zone of this cell."""
        return min(bisect_right(self.edges, cell), len(self.edges) - 1) - 1

    def kept(self, edge: int) -> int:
        """Where the zone that begins or ends at this edge begins or ends, counted with the cells kept twice."""
        return edge + 2 * self.edges.index(edge)

    def place(self, origin: int, side: int) -> slice:
        """Where a tile's cells are kept."""
        return slice(self.kept(origin), self.kept(origin + side))

    def picks(self, origin: int, side: int) -> list[int]:
        """For each cell of `place`, which one it is of the tile, enlarged by a cell at either end."""
        return [i for start, stop in self._inside(origin, side) for i in range(start, stop + 2)]

    def spread(self, weights: Tensor, origin: int, *, constant: bool) -> Tensor:
        """A tile's weights for the cells of `place`.

        A cell kept for a zone weighs as the zone's nearest where weights are constant in zones; else as it does itself,
        and nothing beyond the tile's end, where such weights have come down to nothing.
        """
        zones = self._inside(origin, len(weights))
        cells = [(i, start, stop) for start, stop in zones for i in range(start - 1, stop + 1)]
        if constant:
            return weights[[min(max(i, start), stop - 1) for i, start, stop in cells]]
        return F.pad(weights, (1, 1))[[i + 1 for i, _, _ in cells]]

    def _inside(self, origin: int, side: int) -> list[tuple[int, int]]:
        """The tile's zones, from its own first cell on."""
        own = [edge - origin for edge in self.edges if origin <= edge <= origin + side]
        return list(pairwise(own))
