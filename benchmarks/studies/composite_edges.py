"""Errors of the opacity on composites: bilinear probability, the former filter and the served one, by ground and by quality."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.studies.composites import BLOCK, CELL, Composite
from benchmarks.studies.former_filter import former_opacity
from benchmarks.studies.trainings import markdown_table
from imaging.cutout import Scale, reduced_colors, refined
from imaging.deblocking import Blocks
from imaging.guided_filter import window_mean

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
REACH_CELLS = 2  # the band on each side of a subject's border
SOFT = (8, 247)  # opacities between these count for the trace of the grid
GRADIENT_SIGMA = 1.4  # pixels (Rhemann et al. 2009, "A Perceptually Motivated Online Benchmark for Image Matting")
HEADER = ["composites", "edge", "mean absolute error", "gradient error x 1000", "trace of the grid"]


@dataclass
class Totals:
    """Sums over composites. steps: of soft pixels, their sum and number on the grid of 8 pixels, then elsewhere."""

    absolute: float = 0
    gradient: float = 0
    pixels: int = 0
    steps: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(4))

    def add(self, other: Totals) -> None:
        self.absolute += other.absolute
        self.gradient += other.gradient
        self.pixels += other.pixels
        self.steps += other.steps

    @classmethod
    def of(cls, opacity: Pixels, truth: Plane, truth_gradient: Plane, band: Mask, origin: tuple[int, int] = (0, 0)) -> Totals:
        """Those of one composite.

        opacity: uint8 (H, W). truth: 0 to 1. band: bool (H, W), the pixels whose errors count. origin: of the grid.
        """
        share = opacity / 255
        absolute, gradients = np.abs(share - truth)[band], ((gradient(share) - truth_gradient) ** 2)[band]
        return cls(float(absolute.sum()), float(gradients.sum()), int(band.sum()), grid_steps(opacity, origin))

    @property
    def errors(self) -> dict[str, float]:
        on_grid, on_count, elsewhere, count = self.steps
        trace = (on_grid / on_count) / (elsewhere / count) if on_count and elsewhere else 1.0
        return {
            "absolute": round(self.absolute / self.pixels, 4),
            "gradient": round(1000 * self.gradient / self.pixels, 2),
            "trace": round(float(trace), 3),
        }


def served(composite: Composite) -> Pixels:
    """The opacity of the filter as it is served, before islands are flattened."""
    photo, scale = composite.photo, Scale.of(composite.opacity.shape, CELL)
    inside = composite.foreground > 127
    return refined(photo, Blocks.of(photo), reduced_colors(photo, scale), inside, composite.foreground, scale)


def former(composite: Composite) -> Pixels:
    return former_opacity(composite.photo, composite.foreground > 127, composite.foreground, CELL)


EDGES: Mapping[str, Callable[[Composite], Pixels]] = {
    "bilinear": lambda composite: composite.foreground,
    "former": former,
    "refined": served,
}


def composite_errors(composites: Iterable[Composite]) -> dict[str, dict[str, dict[str, float]]]:
    """By group (ground, subject with JPEGs or without, quality) and kind of edge: the errors that `Totals` names."""
    totals: dict[str, dict[str, Totals]] = {}
    for composite in composites:
        truth, band = composite.opacity, near_border(composite.opacity)
        truth_gradient = gradient(truth)
        quality = f"JPEG {composite.quality}" if composite.quality else "no JPEG"
        subject = f"subject {composite.subject}, {'JPEGs' if composite.quality else quality}"
        for kind, opacity_of in EDGES.items():
            of_one = Totals.of(opacity_of(composite), truth, truth_gradient, band, composite.origin)
            for group in (f"ground {composite.ground}", subject, quality):
                totals.setdefault(group, {}).setdefault(kind, Totals()).add(of_one)
    return {group: {kind: total.errors for kind, total in kinds.items()} for group, kinds in totals.items()}


def table(errors: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """A table of `composite_errors`."""
    rows = [
        (group, kind, f"{values['absolute']:.4f}", f"{values['gradient']:.2f}", f"{values['trace']:.3f}")
        for group, kinds in errors.items()
        for kind, values in kinds.items()
    ]
    return markdown_table(HEADER, rows)


def near_border(opacity: Plane) -> Mask:
    """Soft pixels, and those within `REACH_CELLS` of the border (opacity 0.5)."""
    share = window_mean((opacity > 0.5).astype(np.float32), REACH_CELLS * CELL)
    least = 0.5 / (2 * REACH_CELLS * CELL + 1) ** 2
    return np.asarray(((share > least) & (share < 1 - least)) | ((opacity > 0.02) & (opacity < 0.98)))


def gradient(plane: Plane) -> Plane:
    """The size of the gradient after a Gaussian of `GRADIENT_SIGMA` pixels."""
    reach = round(3 * GRADIENT_SIGMA)
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * GRADIENT_SIGMA**2))
    smooth = plane
    for _ in range(2):
        plane_rows = np.pad(smooth, ((reach, reach), (0, 0)), "edge")
        parts = (weight * plane_rows[start : start + len(smooth)] for start, weight in enumerate(weights / weights.sum()))
        smooth = sum(parts, np.zeros_like(smooth)).T
    return np.asarray(np.hypot(*np.gradient(smooth)))


def grid_steps(opacity: Pixels, origin: tuple[int, int] = (0, 0)) -> npt.NDArray[np.float64]:
    """The sum and the number of steps between neighbouring soft pixels: across the borders of the grid, and elsewhere.

    origin: the column and row of a block, 0 to 7, at which the opacity begins.
    """
    result = np.zeros(4)
    for lines, start in zip((opacity, opacity.T), origin, strict=True):
        soft = (lines > SOFT[0]) & (lines < SOFT[1])
        both = soft[:, 1:] & soft[:, :-1]
        steps = np.abs(np.diff(lines.astype(np.int64), axis=1))
        on_grid = both & ((np.arange(1, lines.shape[1]) + start) % BLOCK == 0)
        elsewhere = both & ~on_grid
        result += (steps[on_grid].sum(), on_grid.sum(), steps[elsewhere].sum(), elsewhere.sum())
    return result
