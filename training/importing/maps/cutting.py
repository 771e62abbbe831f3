"""Cuts scenes into tiles with masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from common.arrays import Mask, Pixels
from imaging.band_scale import BandScale
from imaging.classes import VOID
from imaging.georeferenced.bands import Bands, choose_bands
from imaging.georeferenced.place import Place, Window, metres_per_pixel, scaled_size, system_name
from imaging.georeferenced.raster import write_tile
from imaging.georeferenced.rows import Scaling
from imaging.georeferenced.scene import Scene, open_scene
from imaging.georeferenced.vectors import NOTHING, Burner
from model.inference.scaling import LARGEST_FACTOR
from model.preprocessing import RGB
from training.data.problems import DataError, first_names
from training.importing.classes import save_mask
from training.importing.maps.layers import Layer
from training.importing.objects import BACKGROUND

NARROWEST = 32  # pixels, of a tile at a scene's right or lower edge


@dataclass(frozen=True)
class Source:
    """A scene's file, the place of its pixels, the bands that images get, and their names.

    scaling: of the scene's own pixels to those of `place`; None if they are the same.
    """

    path: Path
    place: Place
    bands: Bands
    names: tuple[str, ...] = RGB
    scaling: Scaling | None = None

    @property
    def ending(self) -> str:
        """The ending of images' names: more bands than those of photos are in TIFFs."""
        return ".png" if self.names == RGB else ".tif"

    @property
    def system(self) -> str:
        """The coordinate system, in few letters."""
        return system_name(self.place.require(str(self.path)))

    @property
    def pixel_m(self) -> tuple[float, float]:
        """How high and wide a pixel of images is on the ground, in metres."""
        return metres_per_pixel(self.place, str(self.path))

    def describe(self) -> str:
        """A line for the user."""
        height, width = self.scaling.size if self.scaling else self.place.size
        scale_text = f", scaled to {self.place.size[1]}x{self.place.size[0]}" if self.scaling else ""
        words = f"{width}x{height} pixels in {self.system}, bands {self.bands.describe()}{scale_text}"
        return f"{self.path}: {words}, {self.pixel_m[1]:.3g} x {self.pixel_m[0]:.3g} m a pixel"

    def read(self, scene: Scene, window: Window) -> tuple[Pixels, Mask]:
        """Pixels of a window, uint8 (H, W, bands), and which have data, bool (H, W). scene: the open file."""
        if self.scaling is None:
            return self.bands.read(scene, window)
        return self.scaling.window(scene, self.bands, window)


@dataclass(frozen=True)
class Tile:
    """A tile with labels. window: its pixels in its scene. classes: the ids that its mask shows, without void."""

    name: str
    source: Source
    window: Window
    classes: frozenset[int]

    @property
    def place(self) -> Place:
        return self.source.place.part(self.window)


@dataclass
class Cutting:
    """What was cut of all scenes.

    bare_tiles, narrow_tiles: numbers of tiles that are left out, as they have no label or are too narrow. inside, beyond:
    pixels of polygons inside and outside of the extent. bare_scenes: those whose tiles show no polygon. outside: where polygons
    lie that are on no scene, in words; empty if there are none.
    """

    tiles: list[Tile] = field(default_factory=list)
    bare_tiles: int = 0
    narrow_tiles: int = 0
    inside: int = 0
    beyond: int = 0
    bare_scenes: list[Path] = field(default_factory=list)
    outside: str = ""


def open_source(path: Path, bands: Sequence[int] | None, scale: BandScale | None, gsd: float | None) -> Source:
    """Opens and describes a scene. bands: those of images; None for its colours, or the first ones. scale: of their samples.

    gsd: metres of a pixel of images; None for the scene's own pixels. Raises `SceneError` for a file that is not read, that
    does not say where it lies, or that lacks a band, and `DataError` for one without longitude and latitude, and for pixels
    that are much smaller than its own, or too large for a tile.
    """
    with open_scene(str(path)) as scene:
        scene.place.require(scene.name)
        if not scene.place.is_on_earth:
            system = system_name(scene.place.require(scene.name))
            raise DataError(f"{scene.name}: the list of tiles has longitude and latitude, and {system} has none")
        channels = len(bands) if bands is not None and len(bands) > len(RGB) else len(RGB)
        network_bands = choose_bands(scene, bands, scale, channels)
        names = (
            tuple(_name(scene.colors[number - 1], number) for number in network_bands.numbers) if channels > len(RGB) else RGB
        )
        size = scene.size if gsd is None else scaled_size(scene.place, gsd, LARGEST_FACTOR, scene.name)
        if gsd is not None and min(size) < NARROWEST:
            raise DataError(
                f"--gsd {gsd:g} scales {scene.name} to {size[1]}x{size[0]} pixels, and a tile needs {NARROWEST}: give less"
            )
        if size == scene.size:
            return Source(path, scene.place, network_bands, names)
        return Source(path, scene.place.scaled(size), network_bands, names, Scaling(scene.size, size))


def cut(
    sources: Sequence[Source],
    labels: Layer,
    extent: Layer | None,
    ids: dict[str, int],
    side: int,
    folder: Path,
    palette: bytes,
) -> Cutting:
    """Writes the tiles of scenes that have labels, `NAME.png` into `images/` and `masks/` of a folder.

    extent: outside of its polygons, nothing is labelled; without one, all of each tile is that shows a polygon. ids: the class
    ids by name. side: of a tile, in pixels. palette: of the masks. Tiles lie on the grid of each scene, from its first pixel
    on; those at its right and lower edge are smaller. A mask is 0 where there is no polygon, and void outside of the extent and
    where the scene has no data. Raises `DataError` if no polygon labels a pixel, and `SceneError` for a damaged scene.
    """
    for part in ("images", "masks"):
        (folder / part).mkdir()
    result = Cutting()
    on_scenes: set[int] = set()
    for source in sources:
        burner, indices = labels.burner(source.place, ids)
        on_scenes.update(indices)
        burners = burner, extent.burner(source.place, {"": BACKGROUND})[0] if extent else None
        windows, tiles, inside = list(windows_of(source.place.size, side)), len(result.tiles), result.inside
        with open_scene(str(source.path)) as scene:
            for window in tqdm(windows, desc=source.path.name, unit="tile", leave=False, disable=None):
                if min(window.height, window.width) < NARROWEST:
                    result.narrow_tiles += 1
                elif not _cut_tile(result, source, scene, window, burners, side, folder, palette):
                    result.bare_tiles += 1
        if len(result.tiles) > tiles and result.inside == inside:
            result.bare_scenes.append(source.path)
    scenes = {str(source.path): source.place for source in sources}
    if not result.inside:  # the extent alone would make background of ground whose labels lie elsewhere
        places = "; ".join(layer.places(scenes) for layer in (labels, extent) if layer)
        raise DataError(f"no pixel of the scenes has a label: {places}; check their coordinate systems")
    if outside := [index for index in range(len(labels.features)) if index not in on_scenes]:
        names = first_names(f"feature {labels.features[index]}" for index in outside)
        result.outside = (
            f"{len(outside)} polygons lie on no scene, {names}, but elsewhere; check its coordinate system: "
            f"{labels.places(scenes, outside)}"
        )
    return result


def _name(color: str, number: int) -> str:
    """A band's name: what the file says it is, or its number."""
    return f"band {number}" if color in ("undefined", "gray", "alpha") else color


def windows_of(size: tuple[int, int], side: int) -> Iterator[Window]:
    """The tiles of a scene of this (height, width), row by row; the last of a row or column has what is left."""
    height, width = size
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield Window(top, left, min(side, height - top), min(side, width - left))


def _cut_tile(
    result: Cutting,
    source: Source,
    scene: Scene,
    window: Window,
    burners: tuple[Burner, Burner | None],
    side: int,
    folder: Path,
    palette: bytes,
) -> bool:
    """Writes a tile, adds it to the result and counts what to tell; gives whether it has a label."""
    labels, extent = burners
    values = labels.burn(window)
    is_covered = values != NOTHING
    is_labelled = extent.burn(window) != NOTHING if extent else np.full(values.shape, is_covered.any())
    result.beyond += int((is_covered & ~is_labelled).sum())
    if not is_labelled.any():
        return False
    pixels, valid = source.read(scene, window)
    result.inside += int((is_labelled & valid & is_covered & (values != VOID)).sum())
    mask = np.where(is_labelled & valid, np.where(is_covered, values, BACKGROUND), VOID).astype(np.uint8)
    classes = frozenset(np.unique(mask).tolist()) - {VOID}
    if not classes:
        return False
    name = f"{source.path.stem}_r{window.top // side:03d}_c{window.left // side:03d}"
    image, data = folder / "images" / f"{name}{source.ending}", pixels * valid[..., None]
    if source.names == RGB:
        Image.fromarray(data).save(image)
    else:
        write_tile(image, data, source.place.part(window), source.names)
    save_mask(folder / "masks" / f"{name}.png", mask, palette)
    result.tiles.append(Tile(name, source, window, classes))
    return True
