"""Divides tiles of scenes into train and val by blocks of ground, so that no ground is in both."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, hypot

import numpy as np
import shapely
from shapely.geometry import Polygon

from imaging.georeferenced.errors import VectorError
from imaging.georeferenced.place import Place
from imaging.georeferenced.vectors import System, move
from training.data.layouts import ONE_IN
from training.data.problems import DataError

SIDES = (8, 4, 2, 1)  # of a block, in tiles
ENOUGH = 20  # blocks; with fewer of them, smaller ones are taken
DEGREES = 360.0
COMMON = 1e-3  # share of a tile that two tiles may have in common by rounding
Block = tuple[int, int]
"""Column and row of a block on the ground, from the first scene's corner."""


@dataclass(frozen=True)
class Ground:
    """A square grid of blocks in the coordinate system of the first scene, from its first pixel on.

    side: of a block along x and y, in units of the system.
    """

    crs: System
    origin: tuple[float, float]
    side: tuple[float, float]

    @classmethod
    def of(cls, place: Place, pixels: int) -> Ground:
        """The blocks whose sides are as long as these pixels of a scene."""
        t = place.transform
        return cls(place.require("the scene"), (t.c, t.f), (hypot(t.a, t.d) * pixels, hypot(t.b, t.e) * pixels))

    def footprint(self, place: Place) -> Polygon:
        """The ground of a tile, in the system of the blocks; longitudes are within half a turn of the origin's."""
        height, width = place.size
        outline = Polygon(place.to_map([[0, 0], [0, height], [width, height], [width, 0]]))
        crs = place.require("the scene")
        if crs != self.crs:
            try:
                outline = move(np.array([outline], np.object_), crs, self.crs)[0]
            except VectorError as error:
                raise DataError(f"the scenes are too far apart for one system, so import them apart: {error}") from error
        if self.crs.is_geographic:
            turns = floor((outline.centroid.x - self.origin[0]) / DEGREES + 0.5)
            outline = shapely.transform(outline, lambda points: points - [turns * DEGREES, 0])
        assert isinstance(outline, Polygon)
        return outline

    def block(self, footprint: Polygon) -> Block:
        """The block that holds the middle of a tile's ground."""
        middle = footprint.centroid
        x, y = (middle.x - self.origin[0]) / self.side[0], (self.origin[1] - middle.y) / self.side[1]
        return floor(x), floor(y)


@dataclass(frozen=True)
class Division:
    """The split of each tile: None for a tile of train whose ground a tile of val shows too.

    blocks: the block of each tile. val: those of val. tiles_a_side: tiles along a block's side.
    """

    splits: list[str | None]
    blocks: list[Block]
    val: frozenset[Block]
    ground: Ground
    tiles_a_side: int


def divide(
    scene: Place,
    tile_side: int,
    tiles: Sequence[Place],
    classes_of_tiles: Sequence[frozenset[int]],
    tiles_a_side: int | None = None,
) -> Division:
    """Divides tiles, by the places of each; about one in five is val.

    scene: the first one, where the blocks begin. tile_side: in pixels. classes_of_tiles: those that each tile shows.
    tiles_a_side: of a block; without it, the largest of `SIDES` that gives enough blocks. Each class is in train and in val
    if two blocks show it. Raises `DataError` if there is one block alone.
    """
    footprints = [Ground.of(scene, tile_side).footprint(tile) for tile in tiles]
    for side in (tiles_a_side,) if tiles_a_side else SIDES:
        ground, a_side = Ground.of(scene, side * tile_side), side
        blocks = [ground.block(footprint) for footprint in footprints]
        if len(set(blocks)) >= ENOUGH:
            break
    if len(set(blocks)) < 2:
        raise DataError(
            f"{len(tiles)} tiles with labels lie in one block of ground, and train and val need one each: give a smaller "
            "--tile or --block, or put all tiles into one split with --split"
        )
    classes: dict[Block, frozenset[int]] = {}
    for block, class_set in zip(blocks, classes_of_tiles, strict=True):
        classes[block] = classes.get(block, frozenset()) | class_set
    val = _choose(Counter(blocks), classes)
    left_out = _common(footprints, blocks, val)
    splits = [None if at in left_out else "val" if block in val else "train" for at, block in enumerate(blocks)]
    return Division(splits, blocks, val, ground, a_side)


def _choose(counts: Mapping[Block, int], classes: Mapping[Block, frozenset[int]]) -> frozenset[Block]:
    """The blocks of val: first some that show the rarest classes, then others, until one tile in five is val.

    The order comes from a hash of a block's place, so it is equal for equal data. A block with the last tiles of a class in
    train stays there.
    """
    order = sorted(counts, key=lambda block: hashlib.sha256(repr(block).encode()).digest())
    target = sum(counts.values()) / ONE_IN
    blocks_with = Counter(each for class_set in classes.values() for each in class_set)
    val: set[Block] = set()

    def may_leave(block: Block) -> bool:
        rest = [classes[other] for other in counts if other not in val and other != block]
        return bool(rest) and all(any(each in class_set for class_set in rest) for each in classes[block])

    for rare in sorted(blocks_with, key=lambda each: (blocks_with[each], each)):
        if not any(rare in classes[block] for block in val):
            fits = [block for block in order if rare in classes[block] and block not in val and may_leave(block)]
            val.update(sorted(fits, key=lambda block: counts[block] > target)[:1])
    number = sum(counts[block] for block in val)
    for block in order:
        if number >= target:
            break
        if block not in val and may_leave(block) and (not val or number + counts[block] <= 2 * target):
            val.add(block)
            number += counts[block]
    return frozenset(val or order[:1])


def _common(footprints: Sequence[Polygon], blocks: Sequence[Block], val: frozenset[Block]) -> set[int]:
    """The tiles of train that have ground in common with a tile of val, as where scenes overlap."""
    in_val = [index for index, block in enumerate(blocks) if block in val]
    tree = shapely.STRtree([footprints[index] for index in in_val])
    left_out = set()
    for index, footprint in enumerate(footprints):
        if blocks[index] not in val:
            near = tree.geometries[tree.query(footprint, predicate="intersects")]
            if near.size and shapely.area(shapely.intersection(near, footprint)).max() > COMMON * footprint.area:
                left_out.add(index)
    return left_out
