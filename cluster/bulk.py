"""`fcn-bulk`: segments many images on a Ray cluster.

The driver lists the inputs, skips images that are done, and records outcomes: only the driver writes the journal and the table
of results. Actors read, segment and write. Only names and outcomes travel between them; names of files are absolute. Every
process must see the inputs and the output folder under the same names: in an object store, or on a shared file system.
"""

from __future__ import annotations

import argparse
import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import repeat
from math import inf
from typing import Any

from cli.answers import Answers, open_answers
from cli.arguments import add_answer, add_inputs, add_network, add_scene, number, options, whole_number
from cli.input import STDIO, Input, Shard
from cli.inputs import Listing, list_either
from cli.local import Local, Network
from cli.places import is_path
from cli.records import open_records, record_all
from cli.report import Outcome, Summary, exit_status, tell
from cli.resume import Notes, done_key
from cli.scene_request import read_requests
from cli.start import ended_at_once
from cluster.actor import ImageActor, network_digest
from common.command_line import CommandParser, install_command
from model.inference.scenes.request import SceneRequest

COMMAND = "fcn-bulk"
BLOCK_IMAGES = 64  # most names in a block; Ray gives a block to one actor, and the whole block again if that actor is lost
BLOCKS_PER_ACTOR = 4  # fewest blocks for each actor, so that all actors end at about the same time
CONNECT_S = 10.0
CHECKS = 32  # answers that are looked up at once
DEADLINE_S = 600.0
MOST_ACTORS = 100_000
BATCH_IMAGES = 16  # most images in one call of an actor


def parser() -> argparse.ArgumentParser:
    """Builds the parser: the arguments of `fcn-segment` that suit a cluster, and the size of the actor pool."""
    p = CommandParser(
        COMMAND, usage="fcn-bulk IN... -o OUT [options]",
        description="Segments images on a Ray cluster and writes the same answers as fcn-segment.",
    )  # fmt: skip
    add_inputs(p, stdio=False)
    add_answer(p)
    add_scene(p)
    add_network(p)
    p.set_defaults(job=False)  # jobs are a service's
    pool = p.add_argument_group("on the cluster")
    pool.add_argument("--address", default="auto", help="address of the cluster; auto: RAY_ADDRESS, or the one on this machine")
    pool.add_argument("--min-actors", type=whole_number(1, MOST_ACTORS), default=1, help="fewest actors (default: 1)")
    pool.add_argument(
        "--max-actors", type=whole_number(1, MOST_ACTORS), help="most actors (default: as many as the cluster's CPUs allow)"
    )
    pool.add_argument("--cpus", type=whole_number(1, 1024), default=1, help="CPUs of an actor (default: 1)")
    pool.add_argument(
        "--gpus", type=number(0, 64), default=0.0, help="GPUs of an actor; with a fraction, actors share a GPU (default: 0)"
    )
    pool.add_argument(
        "--deadline", type=number(0, inf, above=True), default=DEADLINE_S, metavar="SECONDS",
        help="seconds after which an image counts as failed (default: %(default)g)",
    )  # fmt: skip
    return p


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status, as `fcn-segment` does: 0, 2, 3, 130 or 141."""
    return exit_status(lambda: _run(parser().parse_args(argv)), COMMAND)


def _run(args: argparse.Namespace) -> int:
    if STDIO in (*args.inputs, args.out):
        raise OSError("- is not for a cluster; give files, folders or URLs, and -o with a folder or a URL")
    if len(args.outs) > 1:
        raise OSError(f"{COMMAND} writes one output, got -o {' and -o '.join(args.outs)}; give one")
    requests = [replace(each, source=_absolute(each.source), out=_absolute(each.out)) for each in read_requests(args)]
    if requests:
        return _segment_scenes(args, requests)
    out = _absolute(args.out) if args.out else args.out
    listing = list_either(args.inputs, args.from_file, out)
    answers = open_answers(out, options(args).rendering, single=False)
    with _cluster(args.address) as ray:
        return _segment(ray, args, listing, answers)


def _segment_scenes(args: argparse.Namespace, requests: list[SceneRequest]) -> int:
    with ended_at_once(COMMAND):  # imports large packages
        from cluster.scenes import segment_scenes
        from model.inference.scenes.outputs import check_outputs
    check_outputs(requests, force=args.force)
    with _cluster(args.address) as ray:
        return segment_scenes(ray, args, requests, _network(args))


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """The package `ray`, connected to the cluster. Raises `OSError` if there is none, and for an error of the cluster."""
    with ended_at_once(COMMAND):  # imports large packages
        ray = _ray()
    _check_address(address)
    ray.init(address, logging_level="error", log_to_driver=False)
    try:
        yield ray
    except ray.exceptions.RayError as error:
        raise OSError(f"the job has ended: {str(error).strip().splitlines()[-1]}; --resume does the rest") from error
    finally:
        ray.shutdown()


def _segment(ray: Any, args: argparse.Namespace, listing: Listing, answers: Answers) -> int:
    network = _network(args)
    own_options = replace(options(args), mean_confidence=args.results is not None)
    load = partial(Local.load, options=own_options, megapixels=args.max_megapixels, deadline_s=args.deadline)
    resources = {"num_cpus": args.cpus, "num_gpus": args.gpus}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= args.cpus and node.get("GPU", 0) >= args.gpus for node in nodes):
        tell(f"no node has {args.cpus} CPUs and {args.gpus:g} GPUs; waiting until the cluster gets one", COMMAND)
    digest, cpu_isa = ray.get(ray.remote(**resources)(network_digest).remote(load, network))
    load_same = partial(load, replace(network, cpu_isa=cpu_isa))
    shard, summary = args.shard or Shard(), Summary(COMMAND, options(args).rendering)
    records, journal = open_records(args, answers, digest, summary)
    assert journal is not None
    images = (replace(each, name=_absolute(each.name)) for each in listing if shard.holds(each))
    outcomes = _outcomes(ray, args, resources, images, (load_same, answers, listing, digest, journal.notes, args.force))
    return record_all(outcomes, records, summary)


def _network(args: argparse.Namespace) -> Network:
    """The network as every node loads it."""
    weights = _absolute(args.weights) if os.path.isfile(args.weights) else args.weights
    return replace(Network.of(args), weights=weights, threads=args.threads or (0 if args.gpus else args.cpus))


def _absolute(name: str) -> str:
    """The name as every process understands it: a path from the root, or the URL."""
    return os.path.join(os.getcwd(), name) if is_path(name) else name


def _check_address(address: str) -> None:
    """Raises `OSError` if nothing listens at `HOST:PORT`, for which Ray would wait for minutes."""
    host, separator, port = address.rpartition(":")
    if not separator or "/" in host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except OSError as error:
        raise OSError(f"nothing answers at {address} ({error}); see that the head of the cluster runs there") from error


def _outcomes(
    ray: Any,
    args: argparse.Namespace,
    resources: dict[str, float],
    images: Iterable[Input],
    arguments: tuple[Callable[[], Local], Answers, Listing, str, Notes, bool],
) -> Iterator[Outcome]:
    """Yields the outcomes of images that no actor does, then those of the actors as they come.

    arguments: of `ImageActor`.
    """
    _, answers, _, digest, notes, _ = arguments
    pickles = []
    images = list(images)
    with ThreadPoolExecutor(CHECKS) as pool:  # a store takes a while to say the version of an answer
        keys = pool.map(partial(_done_key, notes, digest, answers), images) if args.resume else repeat(None)
        for image, key in zip(images, keys, strict=False):
            if image.problem:
                yield Outcome(image, None, "failed", problem=image.problem)
            elif key:
                yield Outcome(image, answers.target(image), "skipped", key=key)
            else:
                pickles.append(pickle.dumps(image))
    if pickles:
        yield from _outcomes_of_actors(ray, args, resources, pickles, arguments)


def _done_key(notes: Notes, digest: str, answers: Answers, image: Input) -> str | None:
    with suppress(OSError):  # the actor that tries to read the image reports the error
        return None if image.problem else done_key(notes, digest, answers, image)
    return None


def _outcomes_of_actors(
    ray: Any, args: argparse.Namespace, resources: dict[str, float], images: list[bytes], arguments: tuple[Any, ...]
) -> Iterator[Outcome]:
    """Does the pickled images in a pool of actors. After an outcome that ends the run, none follows."""
    import pyarrow

    data = ray.data
    context = data.DataContext.get_current()
    # an actor whose errors are ignored is not replaced, and the job would wait for ever (ray 62746); outcomes hold ours
    context.max_errored_blocks = 0
    context.enable_progress_bars = False
    most = args.max_actors or max(args.min_actors, int(ray.cluster_resources().get("CPU", 1) // args.cpus))
    size = max(1, min(BLOCK_IMAGES, len(images) // (BLOCKS_PER_ACTOR * most)))
    blocks = [pyarrow.table({"image": images[start : start + size]}) for start in range(0, len(images), size)]
    dataset = data.from_arrow(blocks).map_batches(
        ImageActor, batch_size=min(size, BATCH_IMAGES), batch_format="numpy", fn_constructor_args=arguments,
        compute=data.ActorPoolStrategy(min_size=min(args.min_actors, most), max_size=most), **resources,
    )  # fmt: skip
    for row in dataset.iter_rows():
        outcome: Outcome = pickle.loads(row["outcome"])  # noqa: S301 (an actor of this job has pickled it)
        yield outcome
        if outcome.ends_run:
            return


def _ray() -> Any:
    try:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else it warns of its own doings at each start
        import ray
        import ray.data
    except ImportError as error:
        raise OSError(f"fcn-bulk needs the package ray: {install_command('ray')}") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray
