"""A job: what was asked, and how far it is. Its folder holds it as `job.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter

from common.whole_file import write_file

Status = Literal["accepted", "running", "successful", "failed", "dismissed"]
"""As OGC API - Processes, Part 1 (18-062r2, section 7.10), says."""
STATUSES: tuple[Status, ...] = get_args(Status)
OPEN: tuple[Status, ...] = ("accepted", "running")
SCENE_OUTPUTS = ("tif", "cog", "gpkg", "geojson")
MEDIA_TYPES: dict[str, tuple[str, str]] = {
    "tif": (".tif", "image/tiff; application=geotiff"),
    "cog": (".tif", "image/tiff; application=geotiff; profile=cloud-optimized"),
    "gpkg": (".gpkg", "application/geopackage+sqlite3"),
    "geojson": (".geojson", "application/geo+json"),
    "zip": (".zip", "application/zip"),
    "coco": (".json", "application/json"),
    "jsonl": (".jsonl", "application/x-ndjson"),
}
"""The ending and the media type of each output."""
PHOTO_OUTPUTS = tuple(each for each in MEDIA_TYPES if each not in SCENE_OUTPUTS)
OUTPUT = "({0})(,({0}))*|{1}".format("|".join(SCENE_OUTPUTS), "|".join(PHOTO_OUTPUTS))
"""The pattern of a job's output: of a scene also several, with commas."""
GEO = ("rasterio", "pyogrio")
"""The packages that scenes need, of the extra `geo`."""
FILE, RESULT = "job.json", "result"
MOST_BYTES = 1 << 20  # of a job's `FILE`
AREA = "extent.geojson"
"""The file of an extent as GeoJSON, in `WORK`."""
WORK = "work"
"""The folder in a job's with its uploads and all that is not done. The process of a scene may write there, and nowhere else."""


@dataclass(eq=False)
class Job:
    """A job. Only for the event loop.

    id: 128 random bits. owner: of `check_key`, who alone may see it. client: the address that sent it, with the key's name.
    output: of a scene also several, with commas. parameters: of the request, checked. sha256: of the weights that it began
    with. progress: 0 to 100. crashes: ends of its process, or of the service, since its progress; while it is in work, one is
    counted in advance. bytes: of its files on the disk, as they were measured last. success_uri, failed_uri: where its end is
    told; empty once it was. tries: to do so.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid")

    id: str
    owner: str
    client: str
    output: Annotated[str, Field(pattern=f"^({OUTPUT})$")]
    parameters: Mapping[str, Any]
    model: str
    sha256: str
    status: Status = "accepted"
    created: str = ""
    started: str | None = None
    finished: str | None = None
    updated: str = ""
    progress: int = 0
    message: str = "it waits for its turn"
    crashes: int = 0
    bytes: int = 0
    success_uri: str = ""
    failed_uri: str = ""
    tries: int = 0

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def callback(self) -> str:
        """Where its end is to be told; empty if nowhere."""
        return {"successful": self.success_uri, "failed": self.failed_uri}.get(self.status, "")

    @property
    def account(self) -> str:
        """Whose share of the room and of the turns it takes: its owner's or, without keys, that of who sent it."""
        return self.owner or self.client

    @property
    def is_scene(self) -> bool:
        return self.output.split(",")[0] in SCENE_OUTPUTS

    @property
    def results(self) -> dict[str, str]:
        """The name of each output's file in its folder."""
        return {output: RESULT + MEDIA_TYPES[output][0] for output in self.output.split(",")}

    @property
    def log_fields(self) -> dict[str, str | int]:
        """Its id, who sent it, as lines of requests say it (of an IPv6 address the network), its output and its progress."""
        address, _, key = self.client.partition(" ")
        sender = {"client": address, "key": key} if key else {"client": address}
        return {"job": self.id, **sender, "output": self.output, "progress": self.progress}

    def save(self, folder: Path) -> None:
        """Writes it into its folder, whole or not at all. Raises `OSError`."""
        self.updated = now()
        write_file(folder / FILE, json.dumps(asdict(self)), follow=False)

    @classmethod
    def load(cls, folder: Path) -> Job:
        """Reads the job of a folder. Raises `OSError` or `ValueError`, for one of another version, too."""
        with open(folder / FILE, "rb", opener=_opener) as file:
            if len(content := file.read(MOST_BYTES + 1)) > MOST_BYTES:
                raise ValueError(f"{FILE} has more than {MOST_BYTES} bytes")
        job = READER.validate_json(content)
        times = map(datetime.fromisoformat, (job.created, *filter(None, (job.started, job.finished, job.updated))))
        if job.id != folder.name or job.is_open == bool(job.finished) or not all(time.tzinfo for time in times):
            raise ValueError(f"{folder / FILE} is no job of this folder")
        return job


READER = TypeAdapter(Job)


def _opener(name: str, flags: int) -> int:
    """Opens no link, and does not wait for a pipe."""
    return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def available_outputs() -> tuple[str, ...]:
    """The outputs that can be made with the installed packages."""
    return tuple(MEDIA_TYPES) if all(map(find_spec, GEO)) else PHOTO_OUTPUTS


def upload_path(folder: Path, index: int) -> Path:
    """The file of an upload in a job's folder: a number, from 0, and never the client's name."""
    return folder / WORK / f"{index:06}"


def now() -> str:
    """The time as RFC 3339 writes it, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
