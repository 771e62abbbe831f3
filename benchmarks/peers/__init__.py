"""Our network behind other serving frameworks, to measure our service against: what they are and how to ask them.

This table needs none of the frameworks; the servers need the environment that README.md describes.
"""

from __future__ import annotations

from dataclasses import dataclass

BOUNDARY = "fcn-peers-boundary"


@dataclass(frozen=True)
class Peer:
    """A server that `python -m MODULE --port N` starts on 127.0.0.1, and that ends with its children on SIGTERM.

    ready: a path that answers 200 to GET once it serves. path: what images are posted to. field: of the multipart form
    that carries the image; None where the body is the image itself. exact: whether its masks have our service's bytes.
    """

    name: str
    module: str
    ready: str
    path: str = "/segment"
    field: str | None = None
    exact: bool = True

    def wrap(self, data: bytes, content_type: str = "image/jpeg") -> tuple[bytes, str]:
        """An image file as the body of a request, and the content type of that."""
        if self.field is None:
            return data, content_type
        disposition = f'form-data; name="{self.field}"; filename="image"'
        head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\nContent-Type: {content_type}\r\n\r\n"
        return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={BOUNDARY}"


PEERS = (
    Peer("LitServe", "benchmarks.peers.litserve_server", "/health"),
    Peer("BentoML", "benchmarks.peers.bentoml_server", "/readyz"),
    Peer("Ray Serve", "benchmarks.peers.ray_server", "/health"),
    Peer("FastAPI tutorial", "benchmarks.peers.tutorial_server", "/openapi.json", field="file", exact=False),
)
