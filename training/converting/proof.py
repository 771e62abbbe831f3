"""Runs a network of another program in ONNX Runtime, and compares a converted file, as it is served, with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from imaging.decoding import Limits, decode, read_size
from imaging.errors import ImageError
from model.imported_network import Pad
from model.inference.plan import Options
from model.inference.runtime import Runtime
from model.inference.scaling import working_size
from model.inference.segmenter import Segmenter
from model.inference.tiling import Size
from model.regular_file import read_regular_file
from training.converting.graph import ConversionError, RunError, reason, with_output
from training.converting.inputs import NetworkInput
from training.converting.outputs import NetworkOutput, channels_first, to_logits
from training.converting.pixels import Normalisation
from training.converting.samples import Array
from training.converting.wrapping import UNIT
from training.data.files import images_below

SAMPLES = Path(__file__).resolve().parents[2] / "app" / "static" / "samples"
"""The photographs of the service's page, which each installation has."""
LEAST_AGREEMENT = 0.999
MOST_PHOTOGRAPHS = 4
ODD_SHARE = 0.7  # of a photograph's sides, made odd
Pixels = npt.NDArray[np.uint8]
NUMBERS = {
    f"tensor({name})"
    for name in ("float", "float16", "double", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
}
"""Types of outputs, as ONNX Runtime names them."""


class Original:
    """The network as it came, in ONNX Runtime on one thread, with the pixels that it wants.

    data: the file's bytes, as they came (default: those of `model`). `derive` makes other outputs of the network's own.
    """

    def __init__(
        self, model: onnx.ModelProto, network_input: NetworkInput, normalisation: Normalisation, data: bytes = b""
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        self.model, self.input, self.normalisation = model, network_input, normalisation
        self.derive: Callable[[dict[str, Array]], dict[str, Array]] = dict
        try:
            data = data or model.SerializeToString()
            self._session = onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own classes have no common base below it
            raise RunError(f"ONNX Runtime cannot load the network: {reason(error)}") from error
        self._names = [output.name for output in self._session.get_outputs() if output.type in NUMBERS]
        if not self._names:
            raise ConversionError("the network gives no array of numbers")

    def __call__(self, tile: Pixels, size: Size | None = None, pad: Pad = "zero") -> dict[str, Array]:
        """The outputs that are arrays of numbers, by name, for RGB pixels (height, width, 3).

        size: (height, width), to which they are extended below and at the right. pad: by what; zeros are the network's own, as
        of its convolutions.
        Raises `ConversionError` if the network fails.
        """
        values: Array = self.normalisation.apply(tile).astype(self.input.dtype)
        if size:
            missing = (0, size[0] - tile.shape[0]), (0, size[1] - tile.shape[1]), (0, 0)
            values = np.pad(values, missing, mode="edge" if pad == "edge" else "constant")
        batch = values[None] if self.input.layout == "NHWC" else np.ascontiguousarray(values.transpose(2, 0, 1))[None]
        try:
            outputs = dict(zip(self._names, self._session.run(self._names, {self.input.name: batch}), strict=True))
        except Exception as error:
            raise RunError(f"the network fails on {tile.shape[1]}x{tile.shape[0]} pixels: {reason(error)}") from error
        return self.derive(outputs)

    def of(self, model: onnx.ModelProto) -> Original:
        """Another network with the same input."""
        return Original(model, self.input, self.normalisation)

    def giving(self, *names: str) -> Original:
        """The same network, which also gives these tensors of its graph."""
        return self.of(with_output(self.model, *names))


@dataclass(frozen=True)
class Proof:
    """How the converted file compares with the original.

    agreement: the share of cells, or of pixels where the file ends before its resize, that have the same class.
    classes: the number of different classes that the original shows. largest_difference: of logits; None where pixels' classes
    or ids are compared. of_ids: whether the original gives ids.
    """

    pictures: int
    classes: int
    agreement: float
    largest_difference: float | None
    of_ids: bool

    def describe(self) -> str:
        difference = "" if self.largest_difference is None else f", logits differ by at most {self.largest_difference:.3g}"
        where = f"on {self.pictures} pictures that show {self.classes} class{'es' * (self.classes != 1)}"
        return f"{self.agreement:.5f} of the {'ids' if self.of_ids else 'classes'} are the original's, {where}{difference}"


def prove(
    runtime: Runtime, original: Original, output: NetworkOutput, *, whole: NetworkOutput | None, photographs: Iterable[Pixels]
) -> Proof:
    """Compares a converted file with the original on photographs, in one tile each, and on parts of them with odd sides.

    output: what the converted file ends with. whole: the original's own output, where the file ends before it; else None.
    """
    equal = total = pictures = 0
    class_ids: set[int] = set()
    largest, sides, facts = 0.0, original.input.sides, runtime.manifest.whole
    for picture in _pictures(photographs, runtime.manifest.preprocessing.tile):
        pictures += 1
        height, width = picture.shape[:2]
        plan = Segmenter(runtime).plan_size((height, width), Options(side="native")).tile_plan
        tile = plan.cut(picture, 0, 0)  # extended as the service extends it
        size, pad = plan.tile, facts.pad if facts else "edge"
        if not facts:
            multiple = max(output.multiple, UNIT)
            rows, columns = (side or -(-length // multiple) * multiple for side, length in zip(sides, size, strict=True))
            size = rows, columns
        theirs = original_logits(original, whole or output, tile, len(runtime.manifest.labels), size, pad)
        if whole is None or whole.stride == output.stride:
            ours = runtime.logits([tile])[0]
            theirs = theirs[:, : ours.shape[1], : ours.shape[2]]
            largest = max(largest, float(np.abs(ours - theirs).max()) if whole is None else 0)
            classes, our_classes = theirs.argmax(0), ours.argmax(0)
        else:
            classes = theirs.argmax(0)[:height, :width]
            our_classes = Segmenter(runtime)(picture, Options(side="native")).class_map
        class_ids.update(np.unique(classes).tolist())
        equal, total = equal + int((our_classes == classes).sum()), total + classes.size
    if not pictures:
        raise ConversionError("there are no photographs to compare on; give a folder of some: --photos FOLDER")
    of_ids = (whole or output).kind == "class_ids"
    return Proof(pictures, len(class_ids), equal / total, None if whole or of_ids else largest, of_ids)


def photographs(folder: Path | None) -> Iterator[Pixels]:
    """The first `MOST_PHOTOGRAPHS` photographs (height, width, 3) of a folder, by default of `SAMPLES`.

    Their longer side is at most 1024 pixels. Raises `ConversionError` for one that cannot be decoded.
    """
    for path in islice(images_below(folder or SAMPLES), MOST_PHOTOGRAPHS):
        data = read_regular_file(path)
        try:
            size = working_size(read_size(data, Limits()), "auto", (32, 1024))
            yield decode(data, Limits(), size)
        except ImageError as error:
            raise ConversionError(f"{path}: {error}") from error


def _pictures(photographs: Iterable[Pixels], tile: Size) -> Iterator[Pixels]:
    """The upper left corner of each photograph that fits into a tile, and a smaller one with odd sides."""
    for photograph in photographs:
        corner = np.ascontiguousarray(photograph[: tile[0], : tile[1]])
        yield corner
        height, width = (int(side * ODD_SHARE) | 1 for side in corner.shape[:2])
        yield np.ascontiguousarray(corner[:height, :width])


def original_logits(
    original: Original, output: NetworkOutput, pixels: Pixels, classes: int, size: Size, pad: Pad = "zero"
) -> Array:
    """The logits (classes, rows, columns) that an output of the original means, for pixels as `Original` takes them."""
    values = channels_first(original(pixels, size, pad)[output.name], output.layout)
    if not np.isfinite(values).all():
        raise ConversionError("the network gives values that are not finite, on a photograph")
    return to_logits(output.unscaled(values), output.kind, classes)
