"""Zones of tiles along an axis, by hand."""

from __future__ import annotations

import pytest
import torch

from model.zones import Zones

# tiles of four cells at 0, 2 and 5
ZONES = Zones.of((0, 2, 5), 4)


def test_edges_are_where_tiles_begin_or_end() -> None:
    assert ZONES.edges == (0, 2, 4, 5, 6, 9)
    assert ZONES.length == 9 + 2 * 5


@pytest.mark.parametrize(("cell", "zone"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 3), (6, 4), (8, 4)])
def test_a_cell_is_in_the_zone_that_begins_last_before_it(cell: int, zone: int) -> None:
    assert ZONES.zone(cell) == zone


def test_a_tiles_cells_are_kept_with_one_more_at_either_end_of_each_zone() -> None:
    assert ZONES.place(2, 4) == slice(4, 14)
    # its zones are cells 2 and 3, 4, and 5; of the tile enlarged by a cell, its own first is number 1
    assert ZONES.picks(2, 4) == [0, 1, 2, 3, 2, 3, 4, 3, 4, 5]


def test_weights_of_cells_kept_twice() -> None:
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert ZONES.spread(weights, 2, constant=True).tolist() == [1, 1, 2, 2, 3, 3, 3, 4, 4, 4]
    assert ZONES.spread(weights, 2, constant=False).tolist() == [0, 1, 2, 3, 2, 3, 4, 3, 4, 0]


def test_one_tile_is_one_zone() -> None:
    zones = Zones.of((0,), 5)
    assert (zones.edges, zones.length, zones.place(0, 5), zones.picks(0, 5)) == ((0, 5), 7, slice(0, 7), list(range(7)))
