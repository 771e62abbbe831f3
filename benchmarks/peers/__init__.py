"""Our network behind other serving frameworks, to measure our service against: what they are and how to ask them.

This table needs none of the frameworks; the servers need the environment that README.md describes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

BOUNDARY = "fcn-peers-boundary"
IMAGING = "FCN_PEERS_IMAGING"  # the variable that lends a server our decoding and encoding as well


@dataclass(frozen=True)
class Peer:
    """A server that `python -m MODULE --port N` starts on 127.0.0.1, and that ends with its children on SIGTERM.

    ready: a path that answers 200 to GET once it serves. path: what images are posted to. field: of the multipart form
    that carries the image; None where the body is the image itself. imaging: whether it is lent our decoding and encoding,
    so that its masks have our service's bytes. agreement: the least share of pixels that its masks have in common with ours.
    """

    name: str
    module: str
    ready: str
    path: str = "/segment"
    field: str | None = None
    imaging: bool = False
    agreement: float = 1.0

    @property
    def variables(self) -> dict[str, str]:
        """What its process is told by its environment."""
        return {IMAGING: "1"} if self.imaging else {}

    def wrap(self, data: bytes, content_type: str = "image/jpeg") -> tuple[bytes, str]:
        """An image file as the body of a request, and the content type of that."""
        if self.field is None:
            return data, content_type
        disposition = f'form-data; name="{self.field}"; filename="image"'
        head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\nContent-Type: {content_type}\r\n\r\n"
        return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={BOUNDARY}"


FRAMEWORKS = (
    Peer("LitServe", "benchmarks.peers.litserve_server", "/health"),
    Peer("BentoML", "benchmarks.peers.bentoml_server", "/readyz"),
    Peer("Ray Serve", "benchmarks.peers.ray_server", "/health"),
)
# it works in float32, and on the image without a tile around it
TUTORIAL = Peer("FastAPI tutorial", "benchmarks.peers.tutorial_server", "/openapi.json", field="file", agreement=0.9)
PEERS = (*FRAMEWORKS, TUTORIAL)
LENT = tuple(replace(peer, imaging=True) for peer in FRAMEWORKS)
