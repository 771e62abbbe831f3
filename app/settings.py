"""The service's settings: names, defaults and checks, and how they are read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from app.keys import check_keys, parse_secret, read_keys
from app.origins import check_callback_origins, check_hosts, check_networks, check_origins
from app.platform_variables import Platform, implied_settings
from app.variables import ENV_FILE, PREFIX, SettingsError, read_env_file, read_variables
from common.arrays import Size
from common.printable import excerpt
from model.inference.cores import available_cores, available_memory
from model.inference.instructions import CpuIsa
from model.inference.loading import Precision, RuntimeName
from model.inference.tiling import AUTO, Blend, parse_tile
from model.weights_file import DEFAULT_WEIGHTS, find_files

LARGEST_PORT = 65_535
LARGEST_TILE = 4096
MEMORY_SHARE = 0.75  # of the machine's or control group's memory, for the network, the server and all requests
NETWORK_BYTES = 350 << 20  # memory of the idle service, with a margin
LEAST_MEMORY_BYTES = 256 << 20
LEAST_MB, LEAST_S = 0.001, 0.01  # of bodies and deadlines: with less, nothing could be sent or answered
MOST_S = 86_400.0  # of deadlines: the system's clocks do not accept arbitrarily many seconds
SHA256 = re.compile(r"[0-9A-Fa-f]{64}(/[0-9A-Fa-f]{64})*")
ROUTE = re.compile(r"/|(/[A-Za-z0-9._~:@-]+)+/?")


def _split(value: object) -> object:
    """The comma-separated parts of a text, without blank ones."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


CommaSeparated = Annotated[tuple[str, ...], BeforeValidator(_split)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Settings(BaseModel):
    """Settings with their descriptions, which `fcn-serve --help` and the README show. A wrong value raises `ValidationError`.

    The `repr` has no keys.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True, validate_default=True
    )

    host: str = "127.0.0.1"
    """address to listen on; `::` for all (the container's default), of IPv4 alone where there is no IPv6"""

    hosts: Annotated[CommaSeparated, AfterValidator(check_hosts)] = ()
    """comma-separated names that `Host` may have besides loopback ones; by default none where the service listens on loopback
    alone, else any. With `SEGMENT_TRUSTED_PROXIES` any"""

    port: int = Field(8000, ge=0, le=LARGEST_PORT)
    """port to listen on; by default that of the platform, or `PORT`"""

    root_path: str = ""
    """path under which a proxy serves the service, e.g. `/segmentation`"""

    weights: CommaSeparated = (DEFAULT_WEIGHTS,)
    """weights: a file, or a name in `weights/`; several are separated by commas, and the first is the default"""

    weights_sha256: CommaSeparated = ()
    """sha256 of the files that must be loaded, separated by commas in the order of the weights; `/` separates several files of
    one network"""

    runtime: RuntimeName = "auto"
    """`openvino` (CPU), `torch` (GPU, or CPU), `onnxruntime` (ONNX files on a GPU, or CPU), or `auto`: an NVIDIA GPU, else
    OpenVINO, else torch on the CPU"""

    device: CommaSeparated = ("auto",)
    """`auto` (an NVIDIA GPU that torch sees, else the CPU), `cpu`, `cuda`, `cuda:N` or `mps`; several: `cuda:0,cuda:1`"""

    precision: Precision = "auto"
    """`float32`, `int8` (OpenVINO), `bfloat16`, `float16` (torch); `auto`: int8 if the processor is fast at int8 and the
    model's card allows it, bfloat16 on NVIDIA GPUs since Ampere, else float32"""

    cpu_isa: CpuIsa = "auto"
    """widest instructions that OpenVINO uses on a CPU, by oneDNN's names: `AVX2`, `AVX2_VNNI`, `AVX512_CORE`,
    `AVX512_CORE_VNNI`, `AVX512_CORE_AMX`; `auto`: the processor's, without AMX where int8 was measured to be faster without"""

    tile: Annotated[Size | None, BeforeValidator(parse_tile)] = Field(AUTO)  # type: ignore[assignment]  # parsed as well
    """tile side, or height x width such as `384x480`, in multiples of 32; `auto`: what the weights advise, or `whole` photos"""

    overlap: Finite = Field(0.25, ge=0, le=0.5)
    """fraction of a tile shared with its neighbour"""

    blend: Blend = "mean"
    """how overlapping logits are averaged"""

    max_batch_tiles: int = Field(0, ge=0)
    """most tiles in one batch on a GPU; 0: as many as its memory holds, at most 64. A CPU takes them one by one"""

    max_queued_tiles: int = Field(1024, ge=1)
    """most tiles that wait or run, of small and of large images each; beyond it 503"""

    max_upload_mb: Finite = Field(64, ge=LEAST_MB)
    """largest request body, in 10^6 bytes"""

    max_batch_mb: Finite = Field(512, ge=LEAST_MB)
    """largest body of `/segment/batch`, in 10^6 bytes; each image is limited as above"""

    jobs_dir: Path | None = None
    """folder for jobs, work that outlives a request; without it `/jobs` is 404. One service uses it at a time"""

    job_upload_mb: Finite = Field(16_384, ge=LEAST_MB)
    """largest body of `/jobs`, in 10^6 bytes"""

    jobs_mb: Finite = Field(65_536, ge=LEAST_MB)
    """most bytes that all jobs have on the disk together, in 10^6 bytes; beyond it 507"""

    jobs_days: Finite = Field(7, gt=0, le=3650)
    """days after which a job that has ended is removed, with its result"""

    callback_origins: Annotated[CommaSeparated, AfterValidator(check_callback_origins)] = ()
    """comma-separated origins, such as `https://app.example.com`, to which jobs may tell that they have ended"""

    callback_secret: str = Field("", repr=False)
    """what signs these calls: `whsec_` and 24 to 64 random bytes in base64"""

    memory_mb: int = Field(0, ge=0)
    """most memory that all requests use together, in 10^6 bytes, without the network's; 0: derived from the control group or
    the machine"""

    max_megapixels: Finite = Field(100, gt=0)
    """largest image, in 10^6 pixels"""

    upload_timeout_s: Finite = Field(30, ge=LEAST_S, le=MOST_S)
    """most seconds that a body may take to arrive"""

    request_timeout_s: Finite = Field(60, ge=LEAST_S, le=MOST_S)
    """most seconds from the end of the body to the answer; beyond it 504"""

    lame_duck_s: Finite = Field(0, ge=0, le=MOST_S)
    """seconds after SIGTERM in which images are still accepted while `/health/ready` is 503 (in containers 5)"""

    drain_s: Finite = Field(30, ge=0, le=MOST_S)
    """after the lame-duck time, most seconds for requests in flight to end"""

    api_keys_file: Path | None = None
    """file with one key per line, or `NAME:KEY`, such as a Docker secret; lines that begin with `#` are comments"""

    api_keys: Annotated[CommaSeparated, AfterValidator(check_keys)] = Field((), repr=False)
    """comma-separated keys, or `NAME:KEY`; `/segment` answers only requests with one of them. Without keys, it answers
    everybody"""

    protect_all: bool = False
    """requires a key for `/metrics`, `/info`, `/models`, `/classes`, `/docs` and `/openapi.json` as well"""

    cors_origins: Annotated[CommaSeparated, AfterValidator(check_origins)] = ()
    """comma-separated origins whose pages may call the service; `*` for all"""

    trusted_proxies: Annotated[CommaSeparated, AfterValidator(check_networks)] = ()
    """comma-separated addresses and networks of proxies, such as `10.0.0.0/8`, whose `X-Forwarded-For` and `X-Forwarded-Proto`
    are believed"""

    log_format: Literal["auto", "json", "text"] = "auto"
    """format of the log lines; `auto`: text if standard error is a terminal, else JSON"""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """lowest level that is logged"""

    threads: int = Field(0, ge=0)
    """CPU threads of the network; 0: one per core"""

    platform: Platform = "none"
    """`sagemaker` or `vertex_ai`: answers the routes of this platform as well; by default its variables decide"""

    vertex_health_route: str = "/health/ready"
    """Vertex AI's health route; by default `AIP_HEALTH_ROUTE`"""

    vertex_predict_route: str = "/predict"
    """Vertex AI's predict route; by default `AIP_PREDICT_ROUTE`"""

    @field_validator("host", "weights", "api_keys", "api_keys_file", "jobs_dir", "protect_all", "weights_sha256", mode="before")
    @classmethod
    def _not_empty(cls, value: object) -> object:
        if isinstance(value, str) and not value.replace(",", "").strip():
            raise ValueError("is empty; give it a value, or remove it (unset, not empty)")
        return value

    @field_validator("job_upload_mb", "jobs_mb", "jobs_days", "callback_origins")
    @classmethod
    def _jobs(cls, value: Any, info: ValidationInfo) -> Any:
        if not info.data.get("jobs_dir", True) and value != cls.model_fields[str(info.field_name)].default:
            raise ValueError("is for jobs, which are off; set SEGMENT_JOBS_DIR to a folder for them, or unset this")
        if info.field_name == "jobs_mb" and value < (upload := info.data.get("job_upload_mb", 0)):
            raise ValueError(f"must be at least SEGMENT_JOB_UPLOAD_MB, which is {upload:g}: one body may fill it")
        return value

    @field_validator("callback_secret")
    @classmethod
    def _callback_secret(cls, value: str, info: ValidationInfo) -> str:
        if value or info.data.get("callback_origins"):
            parse_secret(value)
        return value

    @field_validator("api_keys_file")
    @classmethod
    def _key_file(cls, value: Path | None) -> Path | None:
        if value:
            read_keys(value)
        return value

    @field_validator("root_path")
    @classmethod
    def _root_path(cls, value: str) -> str:
        """Writes the path with a slash at its start and none at its end."""
        path = value.strip("/")
        return cls._route(f"/{path}") if path else ""

    @field_validator("vertex_health_route", "vertex_predict_route")
    @classmethod
    def _route(cls, value: str) -> str:
        if not ROUTE.fullmatch(value):
            raise ValueError("must be a path such as /predict, of letters, digits and the signs . _ ~ : @ - /")
        return value

    @field_validator("protect_all")
    @classmethod
    def _protect_all(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not any(info.data.get(name, True) for name in ("api_keys", "api_keys_file")):
            raise ValueError("there is no key to ask for; set SEGMENT_API_KEYS or SEGMENT_API_KEYS_FILE")
        return value

    @field_validator("weights_sha256")
    @classmethod
    def _sha256(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not all(map(SHA256.fullmatch, value)):
            raise ValueError("each must be 64 hexadecimal digits, as sha256sum prints them, or several with `/` between")
        weights = info.data.get("weights", value)
        if value and len(value) != len(weights):
            raise ValueError(f"there must be one for each of the {len(weights)} weights files, got {len(value)}")
        return tuple(digest.lower() for digest in value)

    @field_validator("tile")
    @classmethod
    def _tile(cls, value: Size | None) -> Size | None:
        if value and max(value) > LARGEST_TILE:
            raise ValueError(f"must be at most {LARGEST_TILE}")
        return value

    @field_validator("device")
    @classmethod
    def _device(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        kinds = {name.partition(":")[0] for name in value}
        if len(kinds) != 1 or not kinds <= {"auto", "cpu", "cuda", "mps"}:
            raise ValueError("must be auto, cpu, cuda, cuda:N or mps, several of one kind with commas")
        return value

    @field_validator("weights")
    @classmethod
    def _weights(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names: dict[str, str] = {}  # what was written, by the model's name
        for text in value:
            name = find_files(text).name.removesuffix(".int8")
            if name in names:
                raise ValueError(f"{names[name]} and {text} are both the model {name}; give each file a name of its own")
            names[name] = text
        return value

    def read_api_keys(self) -> tuple[str, ...]:
        """The keys of the settings and those in the key file now, each as written, with its name.

        Raises `ValueError` if the file cannot be read.
        """
        return self.api_keys + (read_keys(self.api_keys_file) if self.api_keys_file else ())

    @property
    def memory_bytes(self) -> int:
        """Memory that requests and photos of jobs may use together: as set, else a share of what this process may use."""
        share = int(MEMORY_SHARE * (available_memory() or 0)) - NETWORK_BYTES
        return self.memory_mb * 10**6 or max(LEAST_MEMORY_BYTES, share)

    @property
    def memory_shares(self) -> int:
        """How many equal parts the memory has: of requests and, if there are jobs, of their photos."""
        return 2 if self.jobs_dir else 1

    @property
    def cpu_threads(self) -> int:
        """CPU threads of the network: as set, else one for each core that this process may use."""
        return self.threads or available_cores()


def read_settings(variables: Mapping[str, str] = os.environ, env_file: Path = ENV_FILE, **values: object) -> Settings:
    """The settings from these values, else from the variables, the file, or the variables of managed platforms.

    Raises `SettingsError`.
    """
    names = Settings.model_fields
    values = read_variables(read_env_file(env_file), names) | read_variables(variables, names) | values
    sources = implied_settings(variables, values)
    try:
        return Settings.model_validate({setting: value for setting, (_, value) in sources.items()} | values)
    except ValidationError as error:
        lines = []
        for entry in error.errors():
            setting = str(entry["loc"][0])
            name = sources[setting][0] if setting in sources else f"{PREFIX}{setting.upper()}"
            problem = entry.get("ctx", {}).get("error", entry["msg"])
            value = f", got {excerpt(entry['input'])}" if setting not in names or names[setting].repr else ""  # never a key
            lines.append(f"{name}: {problem}{value}")
        raise SettingsError("\n".join(lines)) from None
