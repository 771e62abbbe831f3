"""The service's settings: names, defaults and checks."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from app.access import LARGEST_PORT, browser_origin, check_keys, network, read_keys
from app.environment import PREFIX, of_kubernetes
from app.platform_variables import Platform
from app.sources import PlatformVariables, checked_sources
from model.inference.cores import available_cores, available_memory
from model.inference.loading import Precision, RuntimeName
from model.inference.tiling import AUTO, Blend, Size, parse_tile
from model.weights_file import DEFAULT_WEIGHTS, find_files

ENV_FILE = Path(".env")
LARGEST_TILE = 4096
MEMORY_SHARE = 0.75  # of the machine's or control group's memory, for the network, the server and all requests
NETWORK_BYTES = 350 << 20  # memory of the idle service, with a margin
LEAST_MEMORY_BYTES = 256 << 20
LEAST_MEMORY_MB = 250  # with less, the published weights cannot segment one pixel; the registry checks the weights in use
LEAST_MB, LEAST_S = 0.001, 0.01  # of bodies and deadlines: with less, nothing could be sent or answered
MOST_S = 86_400.0  # of deadlines: the system's clocks do not accept arbitrarily many seconds
SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
ROUTE = re.compile(r"/[A-Za-z0-9._~:@/-]*")
Finite = Annotated[float, Field(allow_inf_nan=False)]
CommaSeparated = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Settings, read once from `SEGMENT_*` variables, a `.env` file, and the variables of managed platforms.

    A wrong value raises `ValidationError`. A variable that is not a setting raises `UnknownSetting`, and one that does not say
    what was meant `WrongVariable`. The `repr` has no keys.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding="utf-8-sig",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for all (the container's default)")
    port: int = Field(8000, ge=0, le=LARGEST_PORT, description="port to listen on; by default that of the platform, or `PORT`")
    root_path: str = Field("", description="path under which a proxy serves the service, e.g. `/segmentation`")
    weights: str = Field(
        DEFAULT_WEIGHTS,
        description="weights: a file, or a name in `weights/`; several are separated by commas, and the first is the default",
    )
    weights_sha256: CommaSeparated = Field(
        (),
        description="sha256 of the files that must be loaded, separated by commas in the order of the weights; "
        "`/` separates several files of one network",
    )
    runtime: RuntimeName = Field(
        "auto",
        description="`openvino` (CPU), `torch` (GPU, or CPU), `onnxruntime` (ONNX files on a GPU, or CPU), or `auto`: "
        "an NVIDIA GPU, else OpenVINO, else torch on the CPU",
    )
    device: str = Field(
        "auto",
        description="`auto` (an NVIDIA GPU that torch sees, else the CPU), `cpu`, `cuda`, `cuda:N` or `mps`; several: "
        "`cuda:0,cuda:1`",
    )
    precision: Precision = Field(
        "auto",
        description="`float32`, `int8` (OpenVINO), `bfloat16`, `float16` (torch); `auto`: int8 if the processor is fast at "
        "int8 and the model's card allows it, bfloat16 on NVIDIA GPUs since Ampere, else float32",
    )
    tile: str = Field(
        AUTO, description="tile side, or height x width such as `384x480`, in multiples of 32; `auto`: what the weights advise"
    )
    overlap: Finite = Field(0.25, ge=0, le=0.5, description="fraction of a tile shared with its neighbour")
    blend: Blend = Field("mean", description="how overlapping logits are averaged")
    max_batch_tiles: int = Field(
        0,
        ge=0,
        description="most tiles in one batch on a GPU; 0: as many as its memory holds, at most 64. A CPU takes them one by one",
    )
    max_queued_tiles: int = Field(1024, ge=1, description="most tiles that wait or run; beyond it 503")
    max_upload_mb: Finite = Field(64, ge=LEAST_MB, description="largest request body, in 10^6 bytes")
    max_batch_mb: Finite = Field(
        512, ge=LEAST_MB, description="largest body of `/segment/batch`, in 10^6 bytes; each image is limited as above"
    )
    memory_mb: int = Field(
        0,
        ge=0,
        description="most memory that all requests use together, in 10^6 bytes, without the network's; 0: derived from the "
        "control group or the machine",
    )
    max_megapixels: Finite = Field(100, gt=0, description="largest image, in 10^6 pixels")
    upload_timeout_s: Finite = Field(30, ge=LEAST_S, le=MOST_S, description="most seconds that a body may take to arrive")
    request_timeout_s: Finite = Field(
        60, ge=LEAST_S, le=MOST_S, description="most seconds from the end of the body to the answer; beyond it 504"
    )
    lame_duck_s: Finite = Field(
        0,
        ge=0,
        le=MOST_S,
        description="seconds after SIGTERM in which images are still accepted while `/health/ready` is 503 (in containers 5)",
    )
    drain_s: Finite = Field(
        30, ge=0, le=MOST_S, description="after the lame-duck time, most seconds for requests in flight to end"
    )
    api_keys_file: str = Field(
        "",
        description="file with one key per line, or `NAME:KEY`, such as a Docker secret; lines that begin with `#` are "
        "comments",
    )
    api_keys: CommaSeparated = Field(
        (),
        repr=False,
        validate_default=True,
        description="comma-separated keys, or `NAME:KEY`; `/segment` answers only requests with one of them. Without keys, it "
        "answers everybody",
    )
    protect_all: bool = Field(
        False, description="requires a key for `/metrics`, `/info`, `/models`, `/classes`, `/docs` and `/openapi.json` as well"
    )
    cors_origins: CommaSeparated = Field(
        (), description="comma-separated origins whose pages may call the service; `*` for all"
    )
    trusted_proxies: CommaSeparated = Field(
        (),
        description="comma-separated addresses and networks of proxies, such as `10.0.0.0/8`, whose `X-Forwarded-For` and "
        "`X-Forwarded-Proto` are believed",
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="format of the log lines; `auto`: text if standard error is a terminal, else JSON"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is logged")
    threads: int = Field(0, ge=0, description="CPU threads of the network; 0: one per core")
    platform: Platform = Field(
        "none",
        description="`sagemaker` or `vertex_ai`: answers the routes of this platform as well; by default its variables decide",
    )
    vertex_health_route: str = Field("/health/ready", description="Vertex AI's health route; by default `AIP_HEALTH_ROUTE`")
    vertex_predict_route: str = Field("/predict", description="Vertex AI's predict route; by default `AIP_PREDICT_ROUTE`")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment and the file, checked, and the variables of managed platforms."""
        return init_settings, *checked_sources(env_settings, dotenv_settings, cls.model_fields), PlatformVariables(settings_cls)

    @field_validator("api_keys", "cors_origins", "trusted_proxies", "weights_sha256", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = _split(value)
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            raise ValueError("the quotes around it would be part of it; remove them")
        if value and not parts:
            raise ValueError("nothing stands between its commas; give a value, or leave it empty")
        return parts

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is empty, which would listen on all addresses; write 0.0.0.0 for these")
        return value

    @field_validator("api_keys_file")
    @classmethod
    def _key_file(cls, value: str) -> str:
        if value:
            read_keys(Path(value))
        return value

    @field_validator("api_keys")
    @classmethod
    def _keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_keys(value)

    @field_validator("memory_mb")
    @classmethod
    def _memory(cls, value: int) -> int:
        if 0 < value < LEAST_MEMORY_MB:
            raise ValueError(f"must be 0 or at least {LEAST_MEMORY_MB}, with which the smallest image can be worked on")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Writes origins as browsers send them."""
        return tuple(map(browser_origin, value))

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(network, value))

    @field_validator("root_path")
    @classmethod
    def _root_path(cls, value: str) -> str:
        """Writes the path with a slash at its start and none at its end."""
        if not (value.isascii() and value.isprintable()) or any(sign in value for sign in "?# ") or "://" in value:
            raise ValueError("must be a path such as /segmentation, without scheme, spaces, ? and #")
        path = value.strip("/")
        return f"/{path}" if path else ""

    @field_validator("vertex_health_route", "vertex_predict_route")
    @classmethod
    def _route(cls, value: str) -> str:
        if not ROUTE.fullmatch(value):
            raise ValueError("must be a path such as /predict, of letters, digits and the signs . _ ~ : @ - /")
        return value

    @field_validator("protect_all")
    @classmethod
    def _protect_all(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not (info.data.get("api_keys", True) or info.data.get("api_keys_file")):
            raise ValueError("there is no key to ask for; set SEGMENT_API_KEYS or SEGMENT_API_KEYS_FILE")
        return value

    @field_validator("weights_sha256")
    @classmethod
    def _sha256(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for digest in value:
            if not all(map(SHA256.fullmatch, digest.split("/"))):
                raise ValueError("each must be 64 hexadecimal digits, as sha256sum prints them, or several with `/` between")
        count = len(_split(info.data.get("weights", "")))
        if value and "weights" in info.data and len(value) != count:
            raise ValueError(f"there must be one for each of the {count} weights files, got {len(value)}")
        return tuple(digest.lower() for digest in value)

    @field_validator("tile")
    @classmethod
    def _tile(cls, value: str) -> str:
        if max(parse_tile(value) or (0,)) > LARGEST_TILE:
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
        if not _split(value):
            raise ValueError(f"must name a weights file, such as {DEFAULT_WEIGHTS}; give one, or unset this")
        for name in _split(value):
            find_files(name)
        return value

    def read_api_keys(self) -> tuple[str, ...]:
        """The keys of the settings and those in the key file now, each as written, with its name.

        Raises `ValueError` if the file cannot be read.
        """
        return self.api_keys + (read_keys(Path(self.api_keys_file)) if self.api_keys_file else ())

    @property
    def tile_size(self) -> Size | None:
        """The tile's height and width; None for the size that the weights advise."""
        return parse_tile(self.tile)

    @property
    def weights_names(self) -> tuple[str, ...]:
        return _split(self.weights)

    @property
    def devices(self) -> tuple[str, ...]:
        return _split(self.device)

    @property
    def memory_bytes(self) -> int:
        """Memory that all requests together may use: as set, else a share of the memory that this process may use."""
        share = int(MEMORY_SHARE * (available_memory() or 0)) - NETWORK_BYTES
        return self.memory_mb * 10**6 or max(LEAST_MEMORY_BYTES, share)

    @property
    def cpu_threads(self) -> int:
        """CPU threads of the network: as set, else one for each core that this process may use."""
        return self.threads or available_cores()


def ignored_variables() -> list[str]:
    """The variables that Kubernetes has set for a Service named `segment`. They are not settings."""
    return of_kubernetes(os.environ)


def _split(text: str) -> tuple[str, ...]:
    """The text's comma-separated parts, without blank ones."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
