"""How much the classes of a scene depend on where the grid of tiles falls, by tile, overlap and blend, and what each costs.

    .venv/bin/python benchmarks/studies/grids.py CROWNS TILES > benchmarks/studies/grids.json

CROWNS, TILES: the weights that `docs/maps.md` trains, and the tiles that it cuts. The other networks are the default one, on
the meadow of that page and on photographs whose objects are larger than a tile, and a U-Net of segmentation_models.pytorch,
trained here on the same tiles, exported and converted.

Each network segments the same ground in scenes that begin at nine places, as `fcn-segment` does. Agreement: the share of pixels
that have one class at two of the places, the mean over all pairs, beyond `MARGIN` pixels from the edges of all scenes. Price:
processor time, divided by that of the first row. IoU: the mean over the three classes of the labels of val, in one scene.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import segmentation_models_pytorch as smp
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.benches.scenes import photos_side_by_side
from benchmarks.harness.serving import ROOT, checkout_commit
from imaging.decoding import scale
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.inference.tiling import Blend
from model.labels import numbered_labels
from model.weights_file import DEFAULT_WEIGHTS
from training.converting.conversion import convert
from training.converting.pixels import Normalisation
from training.converting.request import ConversionRequest
from training.reporting.machine import machine

SIDE, FARTHEST, MARGIN, PLACES = 896, 256, 64, 9
STEPS, BATCH, ENLARGED = 150, 8, 2
TILES = 0, 512  # 0: as the weights advise
SETTINGS: tuple[tuple[float, Blend], ...] = (0.25, "mean"), (0.25, "hann"), (0.5, "hann")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Array = npt.NDArray[np.uint8]


def enlarged(pixels: Array) -> Array:
    """The pixels that the networks of crowns see, which are half as large."""
    return scale(pixels, (ENLARGED * pixels.shape[0], ENLARGED * pixels.shape[1]))


def orthophoto() -> Array:
    with rasterio.open(ROOT / "docs" / "scenes" / "osbs.tif") as file:
        return enlarged(np.ascontiguousarray(np.moveaxis(file.read(), 0, 2)))


def meadow() -> Array:
    photo = np.asarray(Image.open(ROOT / "docs" / "photos" / "cows.jpg").convert("RGB"))
    return np.concatenate([photo, photo[:, ::-1]], 1)


def masks(tiles: Path, split: str) -> Iterator[tuple[Path, Array]]:
    """The image's path and the labels of each tile, as large as the network sees them."""
    for path in sorted((tiles / "masks" / split).iterdir()):
        yield tiles / "images" / split / path.name, np.asarray(Image.open(path)).repeat(ENLARGED, 0).repeat(ENLARGED, 1)


def labels_of_val(tiles: Path, size: tuple[int, int]) -> Array:
    """The labels of val at their place in the scene; 255 elsewhere."""
    labels = np.full(size, 255, np.uint8)
    for feature in json.loads((tiles / "tiles.geojson").read_text())["features"]:
        facts = feature["properties"]
        for path, mask in masks(tiles, "val"):
            if path.stem == facts["name"]:
                top, left = facts["top"] * ENLARGED, facts["left"] * ENLARGED
                labels[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return labels


def unet(tiles: Path, folder: Path, norm: str = "batchnorm") -> str:
    """A U-Net, trained on the tiles and converted; its path."""
    torch.manual_seed(0)
    net = smp.Unet(
        "mobilenet_v2", encoder_weights=None, classes=3, decoder_channels=(64, 48, 32, 16, 16), decoder_use_norm=norm
    )
    rng = np.random.default_rng(0)
    pairs = [(enlarged(np.asarray(Image.open(path).convert("RGB"))), mask) for path, mask in masks(tiles, "train")]
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    for _ in range(STEPS):
        batch = [(pairs[i], int(rng.integers(0, 4)), rng.integers(0, 2)) for i in rng.integers(0, len(pairs), BATCH)]
        turned = [[np.rot90(each, turns)[:, :: 1 - 2 * flip].copy() for each in pair] for pair, turns, flip in batch]
        values = torch.from_numpy(np.stack([(pixels / 255 - MEAN) / STD for pixels, _ in turned])).float().permute(0, 3, 1, 2)
        target = torch.from_numpy(np.stack([mask for _, mask in turned])).long()
        loss = torch.nn.functional.cross_entropy(net(values), target, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    source, result = folder / f"{norm}.onnx", folder / f"{norm}-served.onnx"
    axes = {"image": {2: "height", 3: "width"}, "logits": {2: "height", 3: "width"}}
    torch.onnx.export(
        net.eval(), (torch.rand(1, 3, 256, 320),), source, dynamo=False, opset_version=17, input_names=["image"],
        output_names=["logits"], dynamic_axes=axes,
    )  # fmt: skip
    labels = numbered_labels(["background", "crown", "shadow"])
    convert(ConversionRequest(source, result, labels, Normalisation(MEAN, STD)), lambda line: print(line, file=sys.stderr))
    return str(result)


def measure(segmenter: Segmenter, ground: Array, options: Options) -> dict[str, float]:
    """Agreement and processor seconds. ground: (height, width, 3) pixels of all scenes together."""
    places = np.random.default_rng(0).integers(0, FARTHEST, (PLACES, 2)).tolist()
    maps, start, end = list[Array](), time.process_time(), SIDE - MARGIN
    for top, left in places:
        ids = segmenter(np.ascontiguousarray(ground[top : top + SIDE, left : left + SIDE]), options).class_map
        maps.append(ids[FARTHEST + MARGIN - top : end - top, FARTHEST + MARGIN - left : end - left])
    seconds, pairs = time.process_time() - start, [float((a == b).mean()) for a, b in combinations(maps, 2)]
    return {"agreement": float(np.mean(pairs)), "all": float((np.ptp(maps, 0) == 0).mean()), "seconds": seconds}


def mean_iou(segmenter: Segmenter, scene: Array, options: Options, labels: Array) -> float:
    ids, ious = segmenter(scene, options).class_map[: labels.shape[0], : labels.shape[1]], list[float]()
    for each in range(3):
        ours, theirs = (ids == each) & (labels < 255), labels == each
        ious.append(float((ours & theirs).sum() / (ours | theirs).sum()))
    return float(np.mean(ious))


def rows_of(weights: str, pixels: Array, labels: Array | None) -> list[dict[str, Any]]:
    """A row for each setting. labels: of the pixels' upper left corner."""
    segmenter, side, rows = Segmenter.from_weights(weights, "cpu", precision="float32"), SIDE + FARTHEST, list[dict[str, Any]]()
    ground = np.pad(pixels, [*((0, max(0, side - length)) for length in pixels.shape[:2]), (0, 0)], mode="symmetric")
    advised = segmenter.manifest.preprocessing.tile[0]
    for tile in (each or advised for each in TILES if each != advised):
        for overlap, blend in SETTINGS:
            options = Options(tile=(tile, tile), overlap=overlap, blend=blend, side="native")
            row = {"tile": tile, "overlap": overlap, "blend": blend, **measure(segmenter, ground[:side, :side], options)}
            if labels is not None:
                row["iou"] = mean_iou(segmenter, ground[:SIDE, :SIDE], options, labels)
            rows.append(row | {"price": row["seconds"] / rows[0]["seconds"] if rows else 1.0})
            print(weights, rows[-1], file=sys.stderr)
    return rows


def main(crowns: str, tiles: Path) -> dict[str, Any]:
    scene = orthophoto()
    labels = labels_of_val(tiles, scene.shape[:2])
    with TemporaryDirectory() as folder:
        networks = {
            "default, meadow": (DEFAULT_WEIGHTS, meadow(), None),
            "default, photographs": (DEFAULT_WEIGHTS, photos_side_by_side(SIDE + FARTHEST, SIDE + FARTHEST), None),
            "crowns": (crowns, scene, labels),
            "converted": (unet(tiles, Path(folder)), scene, labels),
        }
        rows = {name: rows_of(*each) for name, each in networks.items()}
    return {"machine": machine(), "commit": checkout_commit(ROOT), "rows": rows}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2])), indent=1))
