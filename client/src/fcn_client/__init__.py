"""Client of the fcn-segment service: sends images and returns class maps as NumPy arrays."""

from fcn_client.aio import AsyncSegmentClient
from fcn_client.errors import (
    BadRequest,
    ConnectionFailed,
    ConnectionLost,
    DeadlinePassed,
    FetchFailed,
    InvalidImage,
    NoRoom,
    SegmentError,
    ServerBusy,
    TooLarge,
    Unauthorized,
    UnexpectedAnswer,
    UnsupportedImage,
    WrongParameter,
)
from fcn_client.images import ImageLike
from fcn_client.jobs import Job, JobFailed
from fcn_client.parameters import Options
from fcn_client.results import ClassShare, Label, Model, Polygon, Segmentation
from fcn_client.sync import SegmentClient

__all__ = [
    "AsyncSegmentClient",
    "BadRequest",
    "ClassShare",
    "ConnectionFailed",
    "ConnectionLost",
    "DeadlinePassed",
    "FetchFailed",
    "ImageLike",
    "InvalidImage",
    "Job",
    "JobFailed",
    "Label",
    "Model",
    "NoRoom",
    "Options",
    "Polygon",
    "SegmentClient",
    "SegmentError",
    "Segmentation",
    "ServerBusy",
    "TooLarge",
    "Unauthorized",
    "UnexpectedAnswer",
    "UnsupportedImage",
    "WrongParameter",
]
