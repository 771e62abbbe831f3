"""Connected components of a graph, as arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def component_roots(count: int, left: Integers, right: Integers) -> Integers:
    """For each of `count` nodes, int64 (count,), the first node of its component. left, right: the ends of each edge."""
    roots = np.arange(count)
    while len(right):
        # Each root takes the least root that it touches; then each node takes its root's root. The number of roots at least
        # halves in a few rounds.
        left_roots, right_roots = roots[left], roots[right]
        differs = left_roots != right_roots
        if not differs.any():
            break
        left, right, left_roots, right_roots = left[differs], right[differs], left_roots[differs], right_roots[differs]
        np.minimum.at(roots, np.maximum(left_roots, right_roots), np.minimum(left_roots, right_roots))
        while (roots[roots] != roots).any():
            roots = roots[roots]
    return roots
