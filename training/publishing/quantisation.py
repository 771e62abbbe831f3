"""int8 files by NNCF's post-training quantisation. This module needs no PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from common.arrays import Pixels
from common.regular_file import read_regular_file
from imaging.decoding import IMAGE_ENDINGS
from imaging.errors import ImageError
from model.inference.plan import Options
from model.inference.runtimes.openvino_runtime import OpenVINORuntime, read_export
from model.inference.segmenter import Segmenter
from model.weights_file import load_weights
from training.data.files import evenly, images_below
from training.publishing.onnx_files import OURS, export_path, network_digest, read_imported, save_manifest, write_export

INPUT = "pixels"
MOST_PHOTOS = 300  # unless the command says otherwise
FEW_PHOTOS = 50  # fewer are told: rare classes and light may then lie outside of the ranges
# The first convolutions of the network that stay in float32; in a MobileNetV2, the stem and the first depthwise convolution.
# With these two in int8, twice as many cells change their class, and no time is saved. Keeping more changes hardly any cell.
KEPT = 2
LARGEST_WEIGHT = 64  # its products with two bytes of activations sum up to 32,640, which 16 bits hold
FORGOTTEN = "removed the int8 scores and temperature of another export; fcn-evaluate --record NAME measures this one"


def export_int8(path: Path, folder: Path, *, photos: int, avx2: bool) -> Path:
    """Writes the int8 file of a float32 file as NNCF quantises it, and gives its path; raises as `calibration_tiles`.

    path: of a master with its float32 export, or of the float32 file of an imported network. folder: photos on which ranges
    are measured. photos: how many are used. avx2: weights have seven bits in all layers, not only in the first. Processors with
    AVX2 but without VNNI sum two products in 16 bits, which weights of eight bits overflow.
    """
    import nncf
    import onnx
    from nncf.quantization.advanced_parameters import QuantizationParameters

    source = export_path(path, "float32")
    tiles = list(calibration_tiles(Segmenter(OpenVINORuntime(source)), folder, photos))
    if len(tiles) < FEW_PHOTOS:
        print(
            f"int8 ranges are those of {len(tiles)} photos in {folder}, which may not show every class and light; give "
            f"{FEW_PHOTOS} or more, and compare with fcn-evaluate --against before you serve it",
            file=sys.stderr,
        )
    model = onnx.load(source)
    # with tokens, what NNCF takes for channels may be places in the photo
    are_channels = all(node.op_type != "MatMul" for node in model.graph.node)
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    network = nncf.quantize(
        model,
        nncf.Dataset(tiles, lambda tile: {INPUT: tile[None]}),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(tiles),
        ignored_scope=nncf.IgnoredScope(names=convolutions[:KEPT], patterns=[f"{OURS}.*"], validate=False),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.ENABLE if avx2 else nncf.OverflowFix.FIRST_LAYER,
            activations_quantization_params=QuantizationParameters(per_channel=None if are_channels else False),
        ),
    )
    return write_int8(path, network)


def write_int8(path: Path, network: Any) -> Path:
    """Writes the ONNX model of an int8 network beside those of `export_int8`; gives its path.

    Scores and a temperature of another int8 network are removed from the network's files and its card.
    """
    former = (read_imported(path) or load_weights(path)).manifest
    is_known = former.exports.get("int8") == network_digest(network)
    manifest = former if is_known else former.without("int8")
    if manifest != former:
        for file in save_manifest(path, manifest):
            print(f"{file}: {FORGOTTEN}")
    full, target = read_export(export_path(path, "float32")), export_path(path, "int8")
    write_export(target, network, manifest, "int8", full.stride, full.grid, full.master_sha256)
    return target


def sums_fit_16_bits(path: Path) -> bool:
    """Whether this int8 file's weights have seven bits, so that processors with AVX2 alone sum as those with VNNI do.

    Weights of depthwise convolutions may have eight: oneDNN adds their products in 32 bits, one by one.
    """
    import openvino

    constants = (op for op in openvino.Core().read_model(path).get_ops() if op.get_type_name() == "Constant")
    tensors = [op.data for op in constants if op.get_element_type() == openvino.Type.i8 and op.data.ndim > 1]
    sums = [tensor for tensor in tensors if tensor.shape[1] > 1]
    return bool(sums) and all((np.abs(tensor.astype(np.int16)) <= LARGEST_WEIGHT).all() for tensor in sums)


def calibration_tiles(segmenter: Segmenter, folder: Path, photos: int) -> Iterator[Pixels]:
    """Yields the first tile (height, width, bands) of each photo, as the service cuts it; raises `ValueError` without photos.

    photos: how many of the folder's photos are used, spread evenly over the sorted names.
    """
    files = images_below(folder)
    if not files:
        raise ValueError(f"no photos in {folder}; their names end in {', '.join(IMAGE_ENDINGS)}")
    for file in (files[index] for index in evenly(len(files), photos)):
        data = read_regular_file(file)
        try:
            plan = segmenter.plan(data, Options())
            photo = segmenter.decode(data, plan)
        except ImageError as error:
            raise ValueError(f"{file}: {error}") from error
        yield plan.tile_plan.cut(photo, 0, 0)
