"""Client of the fcn-segment service: sends images and returns class maps as NumPy arrays."""

from fcn_client.aio import AsyncSegmentClient as AsyncSegmentClient
from fcn_client.errors import (
    BadRequest as BadRequest,
    ConnectionFailed as ConnectionFailed,
    ConnectionLost as ConnectionLost,
    DeadlinePassed as DeadlinePassed,
    FetchFailed as FetchFailed,
    InvalidImage as InvalidImage,
    NoRoom as NoRoom,
    SegmentError as SegmentError,
    ServerBusy as ServerBusy,
    TooLarge as TooLarge,
    Unauthorized as Unauthorized,
    UnexpectedAnswer as UnexpectedAnswer,
    UnsupportedImage as UnsupportedImage,
    WrongParameter as WrongParameter,
)
from fcn_client.images import ImageLike as ImageLike
from fcn_client.jobs import Job as Job, JobFailed as JobFailed
from fcn_client.parameters import Options as Options
from fcn_client.results import (
    ClassShare as ClassShare,
    Label as Label,
    Model as Model,
    Polygon as Polygon,
    Segmentation as Segmentation,
)
from fcn_client.sync import SegmentClient as SegmentClient
