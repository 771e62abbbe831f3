"""Cuts crops out of images and their masks, and turns them: position, quarter turns, rotation."""

from __future__ import annotations

from math import ceil, cos, radians, sin

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from common.arrays import Size
from training.learning.recipe import Recipe

Pair = tuple[tv_tensors.Image, tv_tensors.Mask]


class Cropper:
    """Cuts random crops of the recipe's size, turned by its `quarter_turns` and `rotation`.

    Images are uint8 (3, H, W), masks uint8 (1, H, W). Outside of an image, a crop has the image's edge pixels, as tiling has,
    and void in the mask. Random numbers are of torch's global generator; a value that is 0 draws none.
    """

    def __init__(self, recipe: Recipe, ignore_index: int) -> None:
        self.recipe, self.ignore_index = recipe, ignore_index

    def __call__(self, image: Tensor, mask: Tensor, class_id: int | None = None) -> Pair:
        """A crop of an image and its mask.

        class_id: the crop holds a pixel of this class if the mask does (default: it lies anywhere).
        """
        is_turned = self.recipe.quarter_turns and float(torch.rand(())) < self.recipe.quarter_turns
        turns = 1 + int(torch.randint(3, ())) if is_turned else 0
        height, width = self.recipe.crop
        size = (width, height) if turns % 2 else (height, width)
        top, left = self._draw_position(mask[0], size, class_id)
        image_crop, mask_crop = self._cut(image, mask, top, left, size)
        if self.recipe.rotation:
            pair = self._rotate(image, mask, top, left, size)
            # a pixel in a corner may leave the crop by the rotation
            if class_id is None or bool((pair[1] == class_id).any()) or not bool((mask_crop == class_id).any()):
                image_crop, mask_crop = pair
        if turns:
            image_crop, mask_crop = (torch.rot90(crop, turns, (1, 2)).contiguous() for crop in (image_crop, mask_crop))
        return tv_tensors.Image(image_crop), tv_tensors.Mask(mask_crop)

    def _draw_position(self, mask: Tensor, size: Size, class_id: int | None) -> tuple[int, int]:
        """The top and left of a crop of this size in a mask (H, W): any, or any that holds a random pixel of the class."""
        pixels = torch.empty(0, 2) if class_id is None else (mask == class_id).nonzero()
        if not len(pixels):
            top, left = (_draw(0, max(0, side - part)) for side, part in zip(mask.shape, size, strict=True))
            return top, left
        pixel = pixels[int(torch.randint(len(pixels), ()))].tolist()
        top, left = (
            _draw(max(0, at - part + 1), max(0, min(at, side - part)))
            for at, side, part in zip(pixel, mask.shape, size, strict=True)
        )
        return top, left

    def _cut(self, image: Tensor, mask: Tensor, top: int, left: int, size: Size) -> tuple[Tensor, Tensor]:
        """The window of this size; its top and left may be negative."""
        height, width = mask.shape[-2:]
        rows, columns = torch.arange(top, top + size[0]), torch.arange(left, left + size[1])
        is_outside = ((rows < 0) | (rows >= height))[:, None] | (columns < 0) | (columns >= width)
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        return image[:, rows][..., columns], mask[:, rows][..., columns].masked_fill(is_outside, self.ignore_index)

    def _rotate(self, image: Tensor, mask: Tensor, top: int, left: int, size: Size) -> tuple[Tensor, Tensor]:
        """The crop at this place, rotated about its centre; its corners show the pixels around the crop."""
        angle = (2 * float(torch.rand(())) - 1) * self.recipe.rotation
        cosine, sine = cos(radians(angle)), abs(sin(radians(angle)))
        height, width = size
        # a pixel more, for the interpolation
        extra_rows = max(0, ceil((height * cosine + width * sine - height) / 2)) + 1
        extra_columns = max(0, ceil((width * cosine + height * sine - width) / 2)) + 1
        image_window, mask_window = self._cut(
            image, mask, top - extra_rows, left - extra_columns, (height + 2 * extra_rows, width + 2 * extra_columns)
        )
        image_window = TF.rotate(image_window, angle, InterpolationMode.BILINEAR)
        mask_window = TF.rotate(mask_window, angle, InterpolationMode.NEAREST, fill=self.ignore_index)
        rows, columns = slice(extra_rows, extra_rows + height), slice(extra_columns, extra_columns + width)
        return image_window[:, rows, columns], mask_window[:, rows, columns]


def _draw(low: int, high: int) -> int:
    """A random integer from low to high, both included; draws nothing where there is no choice."""
    return int(torch.randint(low, high + 1, (1,))) if high > low else low
