"""Settings: the only reader of the environment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from model.inference.cores import available_cores
from model.inference.runtime import Precision, RuntimeName
from model.inference.tiling import Blend, Size, parse_tile
from model.weights_file import DEFAULT_WEIGHTS, find_files

PREFIX = "SEGMENT_"
LARGEST_TILE = 4096
Finite = Annotated[float, Field(allow_inf_nan=False)]
Listed = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Read once from `SEGMENT_*` variables and a `.env` file; a wrong value raises `ValidationError`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for all (the container's default)")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")
    root_path: str = Field("", description="path under which a proxy serves this, e.g. `/segmentation`")
    weights: str = Field(
        DEFAULT_WEIGHTS, description="weights: a file, or a name in `weights/`; several with commas, the first is the default"
    )
    runtime: RuntimeName = Field(
        "auto",
        description="`openvino` (CPU), `torch` (GPU, or CPU), or `auto`: a GPU, else OpenVINO, else torch on the CPU",
    )
    device: str = Field(
        "auto",
        description="`auto` (a GPU that torch sees, else the CPU), `cpu`, `cuda`, `cuda:N` or `mps`; several: `cuda:0,cuda:1`",
    )
    precision: Precision = Field(
        "auto",
        description="`float32`, `int8` (OpenVINO), `bfloat16`, `float16` (torch); `auto`: int8 where the processor is fast "
        "at it and the model's card allows it, bfloat16 on a GPU, else float32",
    )
    tile: str = Field("512", description="tile side, or height x width such as `384x480`; multiples of 32")
    overlap: Finite = Field(0.25, ge=0, le=0.5, description="fraction of a tile shared with its neighbour")
    blend: Blend = Field("mean", description="how overlapping logits are averaged")
    max_batch_tiles: int = Field(8, ge=1, description="most tiles in one batch on a GPU; a CPU takes them one by one")
    max_queued_tiles: int = Field(1024, ge=1, description="most tiles admitted and not yet done; beyond it 503")
    max_upload_mb: Finite = Field(64, gt=0, description="largest request body, in 10^6 bytes")
    max_batch_mb: Finite = Field(512, gt=0, description="largest body of `/segment/batch`, in 10^6 bytes; one image as above")
    max_megapixels: Finite = Field(100, gt=0, description="largest image, in 10^6 pixels")
    upload_timeout_s: Finite = Field(30, gt=0, description="most seconds that a body may take to arrive")
    request_timeout_s: Finite = Field(60, gt=0, description="most seconds from body to answer; beyond it 504")
    drain_s: Finite = Field(30, ge=0, description="after SIGTERM, most seconds for requests in flight to end")
    api_keys: Listed = Field((), description="comma-separated keys that `/segment` asks for; empty: none asked")
    cors_origins: Listed = Field((), description="comma-separated origins whose pages may call; `*` for all")
    log_format: Literal["json", "text"] = Field("json", description="format of the log lines")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    threads: int = Field(0, ge=0, description="CPU threads of the network; 0: one a core")

    @field_validator("api_keys", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _split(value) if isinstance(value, str) else value

    @field_validator("tile")
    @classmethod
    def _tile(cls, value: str) -> str:
        if max(parse_tile(value)) > LARGEST_TILE:
            raise ValueError(f"tile must be at most {LARGEST_TILE}, got {value}")
        return value

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        kinds = {name.partition(":")[0] for name in _split(value)}
        if len(kinds) != 1 or not kinds <= {"auto", "cpu", "cuda", "mps"}:
            raise ValueError(f"device must be auto, cpu, cuda, cuda:N or mps, several of one kind with commas, got {value!r}")
        return value

    @field_validator("weights")
    @classmethod
    def _weights(cls, value: str) -> str:
        for name in _split(value):
            find_files(name)
        return value

    @property
    def tile_size(self) -> Size:
        return parse_tile(self.tile)

    @property
    def weights_names(self) -> tuple[str, ...]:
        return _split(self.weights)

    @property
    def devices(self) -> tuple[str, ...]:
        return _split(self.device)

    @property
    def cpu_threads(self) -> int:
        """Threads for the network: as set, else one for each core that this process may use."""
        return self.threads or available_cores()


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
