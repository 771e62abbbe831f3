"""Augments images and masks together: scale, crop, turns, flips and colour.

The same seed, epoch and index always give the same crop.
"""

from __future__ import annotations

import io
import math
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from common.arrays import Integers, Pixels, Size
from model.inference.scaling import working_size
from model.preprocessing import RGB
from training.learning.cropping import Cropper
from training.learning.frame_cache import FrameCache
from training.learning.losses import UNLABELLED
from training.learning.recipe import CACHE_MB, Recipe
from training.survey.records import Survey


def combine_seeds(*numbers: int) -> int:
    """Combines several numbers into one seed below 2**63."""
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number) % (1 << 63)
    return seed


def jitter_bands(image: Tensor, strength: float) -> Tensor:
    """Changes brightness and contrast of an image of any number of bands, as `ColorJitter` does those of photos.

    strength: the most by which each is changed, as a share. The image gets two factors, for all of its bands.
    """
    brightness, contrast = (1 + strength * (2 * float(torch.rand(())) - 1) for _ in range(2))
    pixels = image.as_subclass(Tensor).float() * brightness
    middle = pixels.mean()
    result: Tensor = tv_tensors.Image(((pixels - middle) * contrast + middle).round().clamp(0, 255).to(torch.uint8))
    return result


def change_gamma(image: Tensor, strength: float) -> Tensor:
    """The image with a random gamma, as the recipe's `gamma` says. strength: that value."""
    result: Tensor = TF.adjust_gamma(image, math.exp(math.log1p(strength) * (2 * float(torch.rand(())) - 1)))
    return result


def compress(image: Tensor) -> Tensor:
    """The photo as a JPEG of a random quality shows it."""
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=int(torch.randint(30, 91, ())))
    with Image.open(file) as jpeg:
        result: Tensor = tv_tensors.Image(torch.from_numpy(np.array(jpeg)).permute(2, 0, 1))
    return result


class AugmentedSplit(Dataset[tuple[Tensor, Tensor]]):
    """Random crops of a split: uint8 images (bands, h, w) and int64 masks (h, w).

    Keys are (epoch, frame). Random choices depend only on the key and the recipe's seed, so a resumed training sees the same
    crops.

    sets: each set's weight and its frames. Pixels of the k-th set that show none of the classes which it labels have the id
    `UNLABELLED` + k.

    All workers share one cache of frames, of up to `cache_bytes`. It holds pixels, of large frames reduced to the largest scale
    as the service reduces them.
    """

    def __init__(self, survey: Survey, recipe: Recipe, cache_bytes: int = CACHE_MB << 20) -> None:
        self.split, self.recipe = survey.split, recipe
        self.ignore_index = self.split.labels.ignore_index
        self.sets = [(each.weight, indices) for each, indices in self.split.sets.items()]
        self._set_of = {index: number for number, (_, indices) in enumerate(self.sets) for index in indices}
        file_sizes = [record.size for record in survey.records]
        self._scaled_sizes = [scaled_size(size, recipe) for size in file_sizes]
        self._shapes = [_kept_size(size, recipe) for size in file_sizes]
        channels = self._channels = len(survey.split.bands)
        self._cache = FrameCache([(channels + 1) * height * width for height, width in self._shapes], cache_bytes)
        self._rare = RareFrames(survey, recipe.rare_share)
        self._cropper = Cropper(recipe, self.ignore_index)
        is_photo = channels == len(RGB)
        jitter = v2.ColorJitter(recipe.color, recipe.color, recipe.color, recipe.hue)
        jitter_of_bands = v2.Lambda(partial(jitter_bands, strength=recipe.color), tv_tensors.Image)
        gamma = v2.Lambda(partial(change_gamma, strength=recipe.gamma), tv_tensors.Image)
        # left out at 0, because a transform always draws a random number, and recipes without it must keep their crops
        transforms = [
            v2.RandomHorizontalFlip(recipe.flip),
            recipe.vertical_flip and v2.RandomVerticalFlip(recipe.vertical_flip),
            jitter if is_photo else jitter_of_bands,
            v2.RandomApply([v2.GaussianBlur(7, (0.3, 1.5))], recipe.blur),
            recipe.gamma and gamma,
            is_photo and v2.RandomApply([v2.Lambda(compress, tv_tensors.Image)], recipe.jpeg),
        ]
        self._transform = v2.Compose(list(filter(None, transforms)))

    def __len__(self) -> int:
        return len(self.split.frames)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, index = key
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(combine_seeds(self.recipe.seed, epoch, index))
            class_id, frame = self._rare.draw() or (None, index)
            image, mask = self._transform(*self._cropper(*self._scale(frame), class_id))
        ids = mask[0].as_subclass(Tensor).long()
        return image.as_subclass(Tensor), torch.where(ids == self.split.rest_id, UNLABELLED + self._set_of[frame], ids)

    def _load(self, index: int) -> tuple[Pixels, Pixels]:
        """The image (H, W, bands) and the mask's ids (H, W), at the size at which they are kept."""
        height, width = self._shapes[index]
        frame = self._cache.read(index)
        if frame is None:
            pixels, ids = self.split.decode(index, self.split.file(index), (height, width)), self.split.mask(index)
            if ids.shape != (height, width):
                ids = _resize_mask(torch.from_numpy(ids.copy())[None], height, width)[0].numpy()
            frame = np.concatenate([pixels.reshape(-1), ids.reshape(-1)])
            self._cache.write(index, frame)
        image, mask = frame[: -height * width], frame[-height * width :]
        return image.reshape(height, width, self._channels), mask.reshape(height, width)

    def _scale(self, index: int) -> tuple[Tensor, Tensor]:
        pixels, ids = self._load(index)
        low, high = self.recipe.scales
        factor = low * (high / low) ** float(torch.rand(()))
        height, width = (max(1, round(side * factor)) for side in self._scaled_sizes[index])
        image, mask = torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(ids)[None]
        return TF.resize(image, [height, width], antialias=True), _resize_mask(mask, height, width)


def scaled_size(size: Size, recipe: Recipe) -> Size:
    """The (height, width) that the recipe's scales are of, for an image of this size."""
    return size if recipe.scales_of == "file" else working_size(size, "auto", recipe.side)


def _kept_size(size: Size, recipe: Recipe) -> Size:
    """The (height, width) at which a frame of this size is kept: no larger than the largest scale needs."""
    height, width = (max(1, round(side * recipe.scales[1])) for side in scaled_size(size, recipe))
    return size if height >= size[0] or width >= size[1] else (height, width)


def _resize_mask(mask: Tensor, height: int, width: int) -> Tensor:
    """A mask (1, H, W) at this size: each pixel is the nearest one's id."""
    result: Tensor = TF.resize(mask, [height, width], TF.InterpolationMode.NEAREST_EXACT)
    return result


def scale_warning(longer_side: int, recipe: Recipe) -> str:
    """A warning if no crop shows objects at the size at which the service sees them; empty if some do.

    longer_side: of the frames, in pixels.
    """
    scaled_side = max(scaled_size((longer_side, longer_side), recipe))
    low, high = (round(scaled_side * scale) for scale in recipe.scales)
    served_low, served_high = recipe.side
    if low <= served_high and high >= served_low:
        return ""
    return (
        f"the training scales the frames, {longer_side} pixels long, to {low} to {high} pixels, but the service scales them to "
        f"{served_low} to {served_high}, where objects differ in size; --set 'scales_of=\"side\"' --set 'scales=[0.7,1.4]' "
        "trains on the service's sizes"
    )


def rare_classes(class_pixels: Integers) -> list[int]:
    """The ids of the classes that have fewer pixels than the median class; classes without pixels count for nothing.

    class_pixels: int64 (classes,).
    """
    counts = class_pixels[class_pixels > 0]
    return np.flatnonzero((class_pixels > 0) & (class_pixels < np.median(counts))).tolist() if len(counts) else []


def rare_line(survey: Survey, share: float) -> str:
    """A line of text that names the rare classes of a data set. share: of the crops that show one."""
    names = [survey.split.labels.names[class_id] for class_id in rare_classes(survey.class_pixels.sum(0))]
    if not names:
        return f"no class is rarer than the others, so rare_share={share} has no effect"
    return f"rare_share: {share:.0%} of the crops show a pixel of a rare class: {', '.join(names)}"


class RareFrames:
    """Draws frames that show rare classes, each class as often as the others (after Isensee et al. 2021).

    share: of the draws, that give a frame. Random numbers are of torch's global generator.
    """

    def __init__(self, survey: Survey, share: float) -> None:
        class_pixels = survey.class_pixels
        self._frames = [(c, class_pixels[:, c].nonzero()[0].tolist()) for c in rare_classes(class_pixels.sum(0))]
        self._share = share if self._frames else 0.0

    def draw(self) -> tuple[int, int] | None:
        """A rare class's id, and the index of a frame that shows it; None for the other draws. A share of 0 draws nothing."""
        if not self._share or float(torch.rand(())) >= self._share:
            return None
        class_id, frames = self._frames[int(torch.randint(len(self._frames), ()))]
        return class_id, frames[int(torch.randint(len(frames), ()))]
