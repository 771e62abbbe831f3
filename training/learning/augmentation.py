"""Joint augmentation of image and mask: scale, flip, crop, colour; the same for an index and epoch whenever it runs."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from imaging.headers import JPEG
from training.data.datasets import Split
from training.learning.recipe import Recipe, RecipeError

CACHE_MB = 4096
REDUCED = 0.5  # of a JPEG's size: from there on it is reduced as it is decoded
Pixels = npt.NDArray[np.uint8]


def mixed(*numbers: int) -> int:
    """One seed of several numbers, below 2**63."""
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number) % (1 << 63)
    return seed


class AugmentedSplit(Dataset[tuple[Tensor, Tensor]]):
    """Crops of a split: uint8 images (3, h, w) and int64 masks (h, w).

    Keys are (epoch, index), where the recipe's `repeats` count as further frames; random choices depend on these and the
    seed alone, so that a resumed training sees the same crops. Frames are kept once decoded, up to `cache_bytes`: each
    worker keeps its own. JPEGs that are worked on at half of their size or less are decoded for each crop, at its scale:
    reduced by libjpeg, as the service does.
    """

    def __init__(self, split: Split, recipe: Recipe, cache_bytes: int = CACHE_MB << 20) -> None:
        self.split, self.recipe = split, recipe
        self.ignore_index = split.labels.ignore_index
        self._free_bytes = cache_bytes
        self._cache: dict[int, tuple[bytes | Pixels, Pixels]] = {}
        self._shown = _shown(split, recipe.repeats)
        self._pasted = _by_id(split.labels.names, recipe.paste, "paste")
        self._finish = v2.Compose(
            [
                v2.RandomCrop(recipe.crop),
                v2.RandomHorizontalFlip(recipe.flip),
                v2.ColorJitter(recipe.color, recipe.color, recipe.color, recipe.hue),
                v2.RandomApply([v2.GaussianBlur(7, (0.3, 1.5))], recipe.blur),
            ]
        )

    def __len__(self) -> int:
        return len(self._shown)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, index = key
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(mixed(self.recipe.seed, epoch, index))
            image, mask = self._crop(self._shown[index])
            if pasted := [item for item, share in self._pasted.items() if float(torch.rand(())) < share]:
                image, mask = self._paste(image, mask, pasted)
            image = self._exposed(image.as_subclass(Tensor))
        return image, mask[0].as_subclass(Tensor).long()

    def _crop(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = self._finish(*self._pad(*self._scale(index)))
        return image, mask

    def _paste(self, image: Tensor, mask: Tensor, ids: list[int]) -> tuple[Tensor, Tensor]:
        """Over them the pixels of these classes of another frame's crop, where they lie there (after Ghiasi et al. 2021)."""
        other, other_mask = self._crop(int(torch.randint(len(self.split.frames), ())))
        taken = torch.isin(other_mask, torch.tensor(ids, dtype=other_mask.dtype))
        return torch.where(taken, other, image), torch.where(taken, other_mask, mask)

    def _load(self, index: int) -> tuple[bytes | Pixels, Pixels]:
        """The image, as its file or as pixels, and the mask's ids."""
        if index in self._cache:
            return self._cache[index]
        data, ids = self.split.file(index), self.split.mask(index).copy()
        as_file = data.startswith(JPEG) and self.recipe.scales[1] <= REDUCED
        frame = data if as_file else self.split.decode(index, data).copy(), ids
        size = (len(data) if as_file else 3 * ids.size) + ids.nbytes
        if size <= self._free_bytes:
            self._cache[index] = frame
            self._free_bytes -= size
        return frame

    def _scale(self, index: int) -> tuple[Tensor, Tensor]:
        kept, ids = self._load(index)
        low, high = self.recipe.scales
        factor = low * (high / low) ** float(torch.rand(()))
        height, width = (max(1, round(side * factor)) for side in ids.shape)
        pixels = self.split.decode(index, kept, (height, width)) if isinstance(kept, bytes) else kept
        image = tv_tensors.Image(torch.from_numpy(pixels.copy() if isinstance(kept, bytes) else pixels).permute(2, 0, 1))
        mask = tv_tensors.Mask(torch.from_numpy(ids)[None])
        scaled = TF.resize(mask, [height, width], TF.InterpolationMode.NEAREST_EXACT)
        return TF.resize(image, [height, width], antialias=True), scaled

    def _pad(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """At least the crop's size: the image's edge repeated, as tiling does, and void in the mask."""
        height, width = image.shape[-2:]
        padding = [0, 0, max(0, self.recipe.crop[1] - width), max(0, self.recipe.crop[0] - height)]
        return TF.pad(image, padding, padding_mode="edge"), TF.pad(mask, padding, fill=self.ignore_index)

    def _exposed(self, image: Tensor) -> Tensor:
        """At another gamma, and compressed anew, as the recipe has it."""
        if self.recipe.gamma:
            image = TF.adjust_gamma(image, math.exp(math.log1p(self.recipe.gamma) * (2 * float(torch.rand(())) - 1)))
        if float(torch.rand(())) >= self.recipe.jpeg:
            return image
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=int(torch.randint(30, 91, ())))
        with Image.open(file) as compressed:
            return torch.from_numpy(np.array(compressed)).permute(2, 0, 1)


def scale_warning(longer_side: int, recipe: Recipe) -> str:
    """What to say where the crops show frames of this many pixels at no scale at which the service works; else nothing."""
    low, high = (round(longer_side * scale) for scale in recipe.scales)
    least, most = recipe.side
    if low <= most and high >= least:
        return ""
    fitting = f"{0.7 * least / longer_side:.2g},{1.4 * most / longer_side:.2g}"
    return (
        f"the crops show the frames, {longer_side} pixels long, at {low} to {high} pixels, the service at {least} to {most}: "
        f"it would see objects of other sizes than were learnt; --set 'scales=[{fitting}]' trains on those that it sees"
    )


def _shown(split: Split, repeats: Mapping[str, int]) -> list[int]:
    """The frames of an epoch: all of them, and then what the recipe repeats; raises `RecipeError` for an unknown class."""
    frames = list(range(len(split.frames)))
    times = _by_id(split.labels.names, repeats, "repeats")
    if not times:
        return frames
    more = []
    for index in frames:
        shown = np.unique(split.mask(index)).tolist()
        more += [index] * (int(max(times.get(item, 1) for item in shown)) - 1)
    return frames + more


def _by_id(names: Sequence[str], values: Mapping[str, float], field: str) -> dict[int, float]:
    """A recipe's values of classes by the classes' ids; raises `RecipeError` for an unknown class."""
    if unknown := sorted(set(values) - set(names)):
        raise RecipeError(f"{field} must name classes of {names}, got {unknown}")
    return {names.index(name): value for name, value in values.items()}
