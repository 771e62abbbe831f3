"""What `fcn-check` alone asks of a frame: how its mask was drawn, and how it lies on its photo."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from common.arrays import Ids, Pixels
from training.survey.placement import PhotoEdges, border_cells, edge_cells
from training.survey.shapes import block_side, grid_ids, thin_ids, unlabelled_part


class FrameDetails(BaseModel):
    """The second layer of a survey; it takes several times as long as the first.

    edge_cells, border_cells: `placement` of the upright image and its mask. better_place: `PhotoEdges.better_place`, None if
    the mask lies well. fits_upright: whether the borders of a mask that may have been drawn on the stored image lie on the
    edges of the upright one. thin, block_side, unlabelled_part, grid_ids: `shapes` of the mask's source ids.
    """

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    edge_cells: bytes
    border_cells: bytes
    better_place: str | None
    fits_upright: bool
    thin: list[int]
    block_side: int
    unlabelled_part: str | None
    grid_ids: bytes


def read_details(ids: Ids, colors: Pixels, stored: Ids | None) -> FrameDetails:
    """The details of a mask's source ids (H, W).

    colors: of the upright image, `photos.mean_colors`. stored: the mask as it lies if it was drawn on the image before EXIF
    turns it; None where that is not in question.
    """
    edges = PhotoEdges(colors)
    return FrameDetails(
        edge_cells=edge_cells(colors),
        border_cells=border_cells(ids),
        better_place=edges.better_place(ids),
        fits_upright=stored is not None and edges.fits_better(ids, stored),
        thin=thin_ids(ids),
        block_side=block_side(ids),
        unlabelled_part=unlabelled_part(ids, edges),
        grid_ids=grid_ids(ids),
    )
