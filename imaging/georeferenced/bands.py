"""Which bands of a scene the network sees, and how their samples become 8 bits: by one scale for the whole scene."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from common.arrays import Floats, Mask, Pixels, Samples
from imaging.band_scale import BandScale
from imaging.formats.tiff import is_opacity
from imaging.georeferenced.errors import SceneError, SceneParameter
from imaging.georeferenced.place import Window
from imaging.georeferenced.scene import Scene

PERCENTILES = (2, 98)
SAMPLED_SIDE = 1024  # pixels of the longer side to which a scene is reduced for its percentiles
SPOTS, SPOT_SIDE = 24, 96  # of a large scene without overviews: squares along each axis that are read, and their side in pixels
LARGE_PIXELS = 1 << 26
NEARLY_ALL, FEW = 0.95, 4  # a share of samples, and shades in which they cannot be told apart
VISIBLE = ("red", "green", "blue")


@dataclass(frozen=True)
class Advice:
    """What a user can do, in the words of the way in.

    scale: about samples without a scale. bands: about a band that the file wrongly calls alpha; `{numbers}` are those that the
    network sees, `{alpha}` is that band. two: about two bands of which none is called alpha.
    """

    scale: str
    bands: str
    two: str


OF_COMMANDS = Advice(
    "give --scale MIN,MAX",
    "--bands {numbers} leaves it out, --bands {numbers},{alpha} shows it to a network",
    "give --bands 1 for one as grey, or --bands 1,2,2 for both",
)


@dataclass(frozen=True)
class Bands:
    """The bands that the network sees, in its order, by number from 1, and each one's scale.

    scales: None for bands of 8 bits, which stay as they are. palette: uint8 (values, 3), the colours of a single band's values.
    alpha: the numbers of the bands that say which pixels have data. remark: on other bands that the file calls alpha (if the
    user named no bands), and on a scale beside the samples, for the user; empty if there are none.
    """

    numbers: tuple[int, ...]
    scales: tuple[BandScale, ...] | None = None
    palette: Pixels | None = None
    alpha: tuple[int, ...] = ()
    remark: str = ""

    def describe(self) -> str:
        """The bands and their scales, such as `4 (312 to 2890), 3 (290 to 2511), 2 (301 to 2300)`."""
        if self.scales is None:
            return ", ".join(map(str, self.numbers))
        return ", ".join(f"{n} ({s.least:g} to {s.most:g})" for n, s in zip(self.numbers, self.scales, strict=True))

    def read(self, scene: Scene, window: Window, fill: npt.ArrayLike | None = None) -> tuple[Pixels, Mask]:
        """Pixels uint8 (height, width, bands) of a window inside the scene, and which have data, bool (height, width).

        fill: uint8 (bands,) or a number, of pixels without data; None for what the file has there. Raises `DamagedScene`.
        """
        channels = 3 if self.palette is not None else len(self.numbers)
        pixels = np.empty((window.height, window.width, channels), np.uint8)
        valid = np.zeros((window.height, window.width), np.bool_)
        distinct = sorted(set(self.numbers))
        order = [distinct.index(number) for number in self.numbers]
        for piece in scene.pieces(window):
            rows = slice(piece.top - window.top, piece.top - window.top + piece.height)
            columns = slice(piece.left - window.left, piece.left - window.left + piece.width)
            if fill is not None and not scene.has_data(piece, self.alpha):
                pixels[rows, columns] = fill
                continue
            samples, mask = scene.read(piece, distinct, self.alpha)
            pixels[rows, columns] = self.to_pixels(samples if order == list(range(len(distinct))) else samples[order])
            valid[rows, columns] = mask
            if fill is not None and not mask.all():
                np.copyto(pixels[rows, columns], np.asarray(fill, np.uint8), where=~mask[:, :, None])
        return pixels, valid

    def to_pixels(self, samples: Samples) -> Pixels:
        """Samples (bands, height, width), in the order of `numbers`, as uint8 (height, width, bands)."""
        if self.palette is not None:
            colors: Pixels = self.palette[samples[0]]
            return colors
        if self.scales is None:
            return np.moveaxis(samples, 0, 2)
        pixels = np.empty((*samples.shape[1:], len(samples)), np.uint8)
        for index, (band, scale) in enumerate(zip(samples, self.scales, strict=True)):
            pixels[:, :, index] = scale.apply(band)
        return pixels


def choose_bands(
    scene: Scene, numbers: Sequence[int] | None = None, scale: BandScale | None = None, channels: int = 3,
    advice: Advice = OF_COMMANDS,
) -> Bands:  # fmt: skip
    """The bands that a network of so many channels sees, with their scales.

    numbers: of the bands, from 1, whatever the file calls them; None for those that it calls red, green and blue, or else the
    first ones. A single band is seen as grey. A band that the file calls alpha says which pixels have data, unless it is among
    the numbers, or the scene's sample of it has other values than opacity. scale: of all bands; None for the percentiles 2 and
    98 of each band over the whole scene. Without it, samples of 8 bits stay, and those of fewer reach from 0 to 255. Raises
    `SceneError` if the scene lacks a band, or has no pixel with data.
    """
    shares = {number: share for number in scene.alpha if number not in (numbers or ()) and (share := _between(scene, number))}
    alpha = tuple(number for number in scene.alpha if number not in (*shares, *(numbers or ())))
    band_numbers = tuple(numbers) if numbers is not None else _default_numbers(scene, alpha, channels, advice)
    if absent := [number for number in band_numbers if number > len(scene.colors)]:
        raise SceneParameter(
            f"{scene.name} has no band {absent[0]}: it has the bands {', '.join(map(str, range(1, len(scene.colors) + 1)))}"
        )
    remark = "" if numbers is not None else _remark(scene, shares, band_numbers, advice)
    facts = partial(Bands, alpha=alpha, remark=remark)
    if len(band_numbers) == 1 and channels == 3:
        if scene.palette is not None and scale is None and band_numbers[0] in scene.bands:
            return facts(band_numbers, palette=scene.palette)
        band_numbers = band_numbers * 3
    if len(band_numbers) != channels:
        raise SceneParameter(
            f"the network sees {channels} bands, and {len(band_numbers)} are chosen "
            f"({', '.join(map(str, band_numbers))}); choose as many as it sees"
        )
    if scale is not None:
        lines = filter(None, (remark, _beside(scene, sorted(set(band_numbers)), alpha, scale)))
        return Bands(band_numbers, (scale,) * channels, None, alpha, "; ".join(lines))
    if scene.dtype == np.uint8:
        most = scene.full(1)
        return facts(band_numbers, None if most == 255 else (BandScale(0, most),) * channels)
    distinct = sorted(set(band_numbers))
    scales = dict(zip(distinct, _percentile_scales(scene, distinct, alpha, advice), strict=True))
    return facts(band_numbers, tuple(scales[number] for number in band_numbers))


def _between(scene: Scene, number: int) -> float:
    """The share of pixels that are neither transparent nor opaque by this band; 0 if it is opacity with few of them."""
    between = full = pixels = 0
    for samples, _ in _sampled(scene, [number], ()):
        visible = samples[samples != 0]
        opaque = int(np.isin(visible, (scene.full(number), 255)).sum())  # 255 is also written to other types
        full, between, pixels = full + opaque, between + visible.size - opaque, pixels + samples.size
    return 0 if is_opacity(between, full, pixels) else between / pixels


def _remark(scene: Scene, shares: Mapping[int, float], numbers: Sequence[int], advice: Advice) -> str:
    """What to tell of bands that are no opacity. shares: of their pixels between transparent and opaque."""
    network_bands = ",".join(map(str, dict.fromkeys(number for number in numbers if number not in shares)))
    return "; ".join(
        f"{scene.name}: band {number}, which the file calls alpha, is neither 0 nor {scene.full(number)} in {share:.0%} of the "
        f"pixels, so it is taken for samples, not for transparency: {advice.bands.format(numbers=network_bands, alpha=number)}"
        for number, share in shares.items()
    )


def _beside(scene: Scene, numbers: Sequence[int], alpha: Sequence[int], scale: BandScale) -> str:
    """What to tell of a scale that shows nearly all samples of a band in few shades; empty if there is no such band.

    Raises `SceneParameter` for a scale that fits the units which the file itself gives to its samples.
    """
    reaches = list[tuple[float, float]]()
    bands = list[int]()
    for number, band in zip(numbers, _values(scene, numbers, alpha), strict=True):
        if not len(band) or not _hides(scale, band):
            continue
        factor, offset = scene.units[number - 1]
        least, most = np.percentile(band, PERCENTILES).tolist()
        is_usable = 0 < factor < math.inf and math.isfinite(offset)  # a negative one turns light into dark
        if is_usable and (factor, offset) != (1, 0) and not _hides(scale, band * factor + offset):
            ends = sorted((end - offset) / factor for end in (scale.least, scale.most))
            raise SceneParameter(
                f"the scale {scale.least:g} to {scale.most:g} is in the units of {scene.name}, and counts for its samples: "
                f"those of band {number} reach from {least:g} to {most:g} (in units {least * factor + offset:g} to "
                f"{most * factor + offset:g}); give {ends[0]:.6g},{ends[1]:.6g}"
            )
        bands.append(number)
        reaches.append((least, most))
    if not bands:
        return ""
    least, most = min(reach[0] for reach in reaches), max(reach[1] for reach in reaches)
    return (
        f"{scene.name}: the scale {scale.least:g} to {scale.most:g} gives nearly all samples of band "
        f"{', '.join(map(str, bands))} few shades: they reach from {least:g} to {most:g} (percentiles 2 and 98)"
    )


def _hides(scale: BandScale, band: Floats) -> bool:
    """Whether a scale gives nearly all samples (N,) a few shades, although they have more values than that."""
    shades, values = np.bincount(scale.apply(band)), np.unique(band, return_counts=True)[1]
    of_shades, of_values = (int(np.sort(counts)[-FEW:].sum()) for counts in (shades, values))
    return of_shades > NEARLY_ALL * len(band) >= of_values


def _default_numbers(scene: Scene, alpha: Sequence[int], channels: int, advice: Advice) -> tuple[int, ...]:
    """The bands where nobody names any. alpha: those that are none. Raises `SceneError` if there are too few, or two."""
    bands = [number for number in range(1, len(scene.colors) + 1) if number not in alpha]
    if channels == 3:
        if all(scene.colors.count(color) == 1 for color in VISIBLE):
            return tuple(scene.colors.index(color) + 1 for color in VISIBLE)
        if len(bands) == len(scene.bands) == 2:
            raise SceneError(f"{scene.name} has 2 bands, and calls neither of them alpha; {advice.two}")
        if 1 <= len(bands) < 3:
            return tuple(bands[:1])
    if len(bands) < channels:
        raise SceneError(f"{scene.name} has {len(bands)} bands, and the network sees {channels}; give one that has its bands")
    return tuple(bands[:channels])


def _percentile_scales(scene: Scene, numbers: Sequence[int], alpha: Sequence[int], advice: Advice) -> list[BandScale]:
    """For each band, the percentiles of the whole scene's samples. Raises `SceneError` if no pixel has data."""
    values = _values(scene, numbers, alpha)
    if not len(values[0]):
        nodata = f"nodata is {scene.nodata:g}; " if scene.nodata is not None else ""
        raise SceneError(f"{scene.name}: no pixel with data was seen, so its samples have no scale; {nodata}{advice.scale}")
    scales = []
    for band in values:
        least, most = np.percentile(band, PERCENTILES).tolist()
        if not least < most:  # nearly all samples are equal
            least, most = float(band.min()), float(band.max())
        scales.append(BandScale(least, most if least < most else max(least + 1, math.nextafter(least, math.inf))))
    return scales


def _values(scene: Scene, numbers: Sequence[int], alpha: Sequence[int]) -> Floats:
    """Samples (bands, N) with data from all over the scene."""
    return np.concatenate([samples[:, mask] for samples, mask in _sampled(scene, numbers, alpha)], 1).astype(np.float64)


def _sampled(scene: Scene, numbers: Sequence[int], alpha: Sequence[int]) -> Iterator[tuple[Samples, Mask]]:
    """Samples (bands, height, width) from all over the scene, and which pixels have data, bool (height, width)."""
    height, width = scene.size
    if height * width <= LARGE_PIXELS or scene.has_overviews:
        factor = max(1.0, max(height, width) / SAMPLED_SIDE)
        size = max(1, round(height / factor)), max(1, round(width / factor))
        yield scene.read_reduced(size, numbers, alpha)
        return
    for top in np.linspace(0, max(0, height - SPOT_SIDE), SPOTS).astype(int).tolist():
        for left in np.linspace(0, max(0, width - SPOT_SIDE), SPOTS).astype(int).tolist():
            window = Window(top, left, min(SPOT_SIDE, height), min(SPOT_SIDE, width))
            yield scene.read(window, numbers, alpha)
