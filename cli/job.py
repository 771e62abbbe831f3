"""`fcn-segment --job`: sends a scene to a service, which segments it without this command, and fetches the results."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm

from cli.address import open_client
from cli.arguments import service_arguments
from cli.places import is_path, real, version
from cli.remote import ServerError, detail_of, refuse_local
from cli.report import DONE, tell
from common.whole_file import check_output, whole_file, write_file
from imaging.georeferenced import BOX
from model.inference.scenes.former import refuse_open, remove_former
from model.inference.scenes.request import EXTENT_BYTES, SceneRequest

PAUSE_S = 1.0  # between two looks at the job
ENDING = ".job"
"""The ending of the file beside the output that says which job the output is of."""


def segment_job(requests: Sequence[SceneRequest], args: argparse.Namespace) -> int:
    """Sends the scene, waits with a bar, and writes the results. Returns the exit status. Raises `OSError`.

    Ctrl-C ends the command, and not the job; with `--resume`, a later command waits for the same job.
    """
    _check(requests, args)
    first, outputs = requests[0], ["cog" if request.cog else request.kind for request in requests]
    path = Path(first.out + ENDING)
    with closing(open_client(args.server, args.api_key)) as client:
        query, scene = _query(first, outputs, args), f"{real(first.source)} {version(first.source)}"
        note = {"server": str(client.base_url), "scene": scene, "query": query}
        address = _kept(path, note) if args.resume else None
        verb = "goes on" if address else "was sent"
        try:
            if address is None:
                address = _submit(client, first, query)
                write_file(path, json.dumps(note | {"job": address}), follow=False)
            _wait(client, address, verb)
            for request, output in zip(requests, outputs, strict=True):
                _fetch(client, f"{address}/results" + (f"/{output}" if len(outputs) > 1 else ""), request)
        except httpx.HTTPError as error:
            advice = f"; the job goes on, and --resume waits for it: {client.base_url}{address}" if address else ""
            raise ServerError(f"{client.base_url} does not answer: {str(error) or type(error).__name__}{advice}") from error
        except KeyboardInterrupt:
            if address:
                tell(f"the job goes on, and --resume waits for it: {client.base_url}{address}")
            raise
        path.unlink(missing_ok=True)
    return DONE


def _fetch(client: httpx.Client, address: str, request: SceneRequest) -> None:
    """Writes a result. Raises `OSError` and `ServerError`."""
    with whole_file(request.out) as partial, client.stream("GET", address) as response:
        if response.status_code != httpx.codes.OK:
            response.read()
            raise ServerError(f"{response.status_code} {detail_of(response)}")
        with partial.open("wb") as file:
            file.writelines(response.iter_bytes())
        for line in remove_former(request):
            tell(line)


def _check(requests: Sequence[SceneRequest], args: argparse.Namespace) -> None:
    """Raises `OSError` for arguments that do not suit a job."""
    if args.server is None:
        raise OSError("--job is for a service; give --server URL, or leave it out")
    if len({request.source for request in requests}) != 1 or not is_path(requests[0].source):
        raise OSError(
            f"--job takes one scene of this machine and one output that ends in .tif, .geojson or .gpkg, or one of each, got "
            f"-o {' -o '.join(args.outs)}"
        )
    if requests[0].style:
        raise OSError("--style is not for --job; leave it out")
    refuse_local(args)
    for request in requests:
        refuse_open(Path(request.out))
        check_output(request.out)


def _query(request: SceneRequest, outputs: Sequence[str], args: argparse.Namespace) -> dict[str, str]:
    """The job's parameters, as the service takes them."""
    values: dict[str, Any] = {"output": ",".join(outputs), "model": args.model} | service_arguments(args)
    if request.extent and not BOX.fullmatch(request.extent):
        path = Path(request.extent)
        if path.suffix.lower() not in (".geojson", ".json") or path.stat().st_size > EXTENT_BYTES:
            raise OSError(
                f"--extent {path}: a job takes GeoJSON of at most 1 MB, or LEFT,BOTTOM,RIGHT,TOP,SYSTEM; save it as that"
            )
        values["extent"] = path.read_text("utf-8")
    return {name: str(value) for name, value in values.items() if value is not None}


def _kept(path: Path, note: dict[str, Any]) -> str | None:
    """The address of the job that an earlier command noted for the same output; None if there is none. Raises `OSError`."""
    if not path.is_file():
        return None
    with suppress(ValueError):
        earlier = json.loads(path.read_bytes())
        if isinstance(earlier, dict) and note.items() <= earlier.items():
            return str(earlier["job"])
    raise OSError(f"{path} is of a job with another scene, service or other options; leave --resume out to begin again")


def _submit(client: httpx.Client, request: SceneRequest, query: dict[str, str]) -> str:
    """Sends the scene as it is read, and gives the address of its job below the service's. Raises `ServerError`."""
    fields = {name: value for name, value in query.items() if name == "extent"}
    with open(request.source, "rb") as file:
        body: dict[str, Any] = {"data": fields, "files": {"file": file}} if fields else {"content": file}
        response = client.post("jobs", params={name: query[name] for name in query if name not in fields}, **body)
    if response.status_code != httpx.codes.CREATED:
        raise ServerError(f"{response.status_code} {detail_of(response)}")
    return f"jobs/{response.json()['jobID']}"


def _wait(client: httpx.Client, address: str, verb: str) -> None:
    """Waits until the job is successful, with a bar; tells its id and progress, first with the verb. Raises `ServerError`."""
    has_terminal = bool(sys.stderr and sys.stderr.isatty())
    with tqdm(total=100, unit="%", disable=not has_terminal) as bar:
        while True:
            response = client.get(address)
            if response.status_code in (502, 503):  # it starts, or a proxy waits for it
                time.sleep(PAUSE_S)
                continue
            if response.status_code != httpx.codes.OK:
                raise ServerError(f"{response.status_code} {detail_of(response)}")
            job = response.json()
            text = f"job {job['jobID']}: {job['status']}, {job['progress']}%"
            if verb:
                tell(f"{text}; it {verb}: {client.base_url}{address}")
                verb = ""
            bar.update(job["progress"] - bar.n)
            if job["status"] not in ("accepted", "running"):
                break
            time.sleep(PAUSE_S)
    text = f"{text}; {job['message']}"
    if job["status"] != "successful":
        raise ServerError(text)
    tell(text)
