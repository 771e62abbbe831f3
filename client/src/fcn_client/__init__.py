"""Client of fcn-segment: images go in, NumPy arrays come out."""

from fcn_client.aio import AsyncSegmentClient
from fcn_client.errors import (
    BadRequest,
    ConnectionFailed,
    DeadlinePassed,
    InvalidImage,
    SegmentError,
    ServerBusy,
    TooLarge,
    Unauthorized,
    UnsupportedImage,
)
from fcn_client.results import ClassShare, Label, Model, Segmentation
from fcn_client.sync import SegmentClient

__all__ = [
    "AsyncSegmentClient",
    "BadRequest",
    "ClassShare",
    "ConnectionFailed",
    "DeadlinePassed",
    "InvalidImage",
    "Label",
    "Model",
    "SegmentClient",
    "SegmentError",
    "Segmentation",
    "ServerBusy",
    "TooLarge",
    "Unauthorized",
    "UnsupportedImage",
]
