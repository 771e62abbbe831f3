"""A network of another program in ONNX Runtime, with the pixels that it wants: what conversions are compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from training.converting.errors import ConversionError, RunError, reason
from training.converting.inputs import NetworkInput
from training.converting.pixels import Normalisation

Array = npt.NDArray[Any]
Tile = npt.NDArray[np.uint8]


NUMBERS = {
    f"tensor({name})"
    for name in ("float", "float16", "double", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
}
"""Types of outputs, as ONNX Runtime names them."""


class Original:
    """The network as it came, in ONNX Runtime on one thread, with the pixels that it wants."""

    def __init__(self, model: bytes, network_input: NetworkInput, normalisation: Normalisation) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        self.input, self.normalisation = network_input, normalisation
        try:
            self._session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own classes have no common base below it
            raise RunError(f"ONNX Runtime cannot load the network: {reason(error)}") from error
        self._names = [output.name for output in self._session.get_outputs() if output.type in NUMBERS]
        if not self._names:
            raise ConversionError("the network gives no array of numbers")

    def __call__(self, tile: Tile) -> dict[str, Array]:
        """The outputs that are arrays of numbers, by name, for RGB pixels (height, width, 3).

        Raises `ConversionError` if the network fails.
        """
        values: Array = self.normalisation.apply(tile).astype(self.input.dtype)
        batch = values[None] if self.input.layout == "NHWC" else np.ascontiguousarray(values.transpose(2, 0, 1))[None]
        try:
            return dict(zip(self._names, self._session.run(self._names, {self.input.name: batch}), strict=True))
        except Exception as error:
            raise RunError(f"the network fails on {tile.shape[1]}x{tile.shape[0]} pixels: {reason(error)}") from error
