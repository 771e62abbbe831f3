"""Our predictor behind LitServe: the image as the request's body, the mask as PNG.

LitServe's own request handling takes JSON and forms alone (its issues 362 and 732 ask for more), yet it hands
`decode_request`'s type hint to FastAPI (docs, "Request, response format"), which takes bodies as bytes.
"""

# no `from __future__ import annotations`: LitServe reads the hints of `decode_request` and `encode_response` as objects

import signal
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import litserve as ls  # type: ignore[import-not-found]
import torch
from fastapi import Body, Response

from benchmarks.peers.predictor import BATCH, WAIT_S, Decoded, Model, port
from model.cores import available_cores
from model.segmentation import ClassMap


class Segmentation(ls.LitAPI):  # type: ignore[misc]
    """One worker's model; LitServe calls these methods in order."""

    def setup(self, device: str) -> None:
        # workers share the cores: one thread each (PyTorch docs, "CPU threading": no more threads than cores in all)
        torch.set_num_threads(1)
        self.model = Model()

    def decode_request(self, request: Annotated[bytes, Body(media_type="image/*")]) -> Decoded:
        return self.model.decode(request)

    def batch(self, inputs: list[Decoded]) -> list[Decoded]:
        # docs, "Batching": the default stacks tensors; images of many sizes stay a list
        return inputs

    def predict(self, x: Sequence[Decoded]) -> list[ClassMap]:
        return self.model.predict(x)

    def unbatch(self, output: list[ClassMap]) -> list[ClassMap]:
        return output

    def encode_response(self, output: ClassMap) -> Response:
        return Response(self.model.encode(output), media_type="image/png")


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Serves until SIGTERM."""
    number = port()
    # docs, "Batching": max_batch_size, and a batch_timeout above 0, that batches may fill
    api = Segmentation(max_batch_size=BATCH, batch_timeout=WAIT_S, api_path="/segment")
    # LitServer's reference on workers_per_device: "for CPU, set to the number of cores". fast_queue stays off: it is for
    # more than 100 requests a second, says the same page. Requests may wait longer than the default of 30 s.
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=available_cores(), timeout=120)
    # the signal that LitServe ends cleanly on is SIGINT
    signal.signal(signal.SIGTERM, _interrupt)
    # num_api_servers stays as recommended: as many as workers
    server.run(host="127.0.0.1", port=number, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
