"""int8 files by NNCF's post-training quantisation. This module needs no PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.decoding import IMAGE_ENDINGS
from imaging.errors import ImageError
from model.inference.plan import Options
from model.inference.runtimes.openvino_runtime import OpenVINORuntime, read_export
from model.inference.segmenter import Segmenter
from model.regular_file import read_regular_file
from training.data.files import images_below
from training.publishing.onnx_files import imported_facts, int8_path, network_digest, save_imported, write_onnx

INPUT = "pixels"
MOST_PHOTOS = 300  # unless the command says otherwise
FEW_PHOTOS = 50  # fewer are told: rare classes and light may then lie outside of the ranges
# The first convolutions of the network that stay in float32; in a MobileNetV2, the stem and the first depthwise convolution.
# With these two in int8, twice as many cells change their class, and no time is saved. Keeping more changes hardly any cell.
KEPT = 2
FORGOTTEN = "removed the int8 scores and temperature of another export; fcn-evaluate --record NAME measures this one"


def export_imported_int8(path: Path, folder: Path, *, photos: int, avx2: bool) -> Path:
    """Writes the int8 file of an imported network's float32 file, as `quantised` makes it; gives its path.

    Scores and a temperature of another int8 file are removed from both files and the card. Raises as `quantised`.
    """
    segmenter = Segmenter(OpenVINORuntime(path))
    network = quantised(path, segmenter, folder, photos=photos, avx2=avx2)
    export = read_export(path)
    manifest = export.manifest.of_export("int8", network_digest(network))
    target = int8_path(path)
    write_onnx(target, network, imported_facts(manifest, "int8", export.stride, export.grid))
    if manifest.scores != export.manifest.scores:
        print(f"{path}: {FORGOTTEN}")
    save_imported(path, manifest)
    return target


def quantised(source: Path, segmenter: Segmenter, folder: Path, *, photos: int, avx2: bool) -> Any:
    """The ONNX model of a float32 file after NNCF's post-training quantisation.

    segmenter: of the same network, for its scaling and tiling. folder: photos on which ranges are measured. photos: how many
    are used. avx2: weights have seven bits in all layers, not only in the first. Processors with AVX2 but without VNNI sum two
    products in 16 bits, which weights of eight bits overflow.
    Raises `ValueError` if the folder has no photos, or one that cannot be decoded.
    """
    import nncf
    import onnx

    tiles = list(calibration_tiles(segmenter, folder, photos))
    if len(tiles) < FEW_PHOTOS:
        print(
            f"int8 ranges are those of {len(tiles)} photos in {folder}, which may not show every class and light; give "
            f"{FEW_PHOTOS} or more, and compare with fcn-evaluate --against before you serve it",
            file=sys.stderr,
        )
    model = onnx.load(source)
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    return nncf.quantize(
        model,
        nncf.Dataset(tiles, lambda tile: {INPUT: tile[None]}),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(tiles),
        ignored_scope=nncf.IgnoredScope(names=convolutions[:KEPT]),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.ENABLE if avx2 else nncf.OverflowFix.FIRST_LAYER
        ),
    )


def calibration_tiles(segmenter: Segmenter, folder: Path, photos: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yields the first tile (height, width, bands) of each photo, as the service cuts it; raises `ValueError` without photos.

    photos: how many of the folder's photos are used, spread evenly over the sorted names.
    """
    files = images_below(folder)
    if not files:
        raise ValueError(f"no photos in {folder}; their names end in {', '.join(IMAGE_ENDINGS)}")
    for file in files[:: max(1, len(files) // photos)][:photos]:
        data = read_regular_file(file)
        try:
            plan = segmenter.plan(data, Options())
            photo = segmenter.decode(data, plan)
        except ImageError as error:
            raise ValueError(f"{file}: {error}") from error
        yield plan.tile_plan.cut(photo, next(plan.tile_plan.regions))
