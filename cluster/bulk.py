"""`fcn-bulk`: segments many images on a Ray cluster.

The driver lists the inputs, leaves out what is done, and records outcomes: it alone writes the journal and the table of
results. Actors read, segment and write. Only names and outcomes travel between them. Every process must see the inputs and the
output folder under the same names: an object store, or a shared file system.
"""

from __future__ import annotations

import argparse
import logging
import os
import pickle
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from cli.answers import Answers, open_answers
from cli.arguments import options, rendering
from cli.input import Input, Shard
from cli.inputs import Listing, list_inputs, list_names
from cli.records import Records
from cli.report import INTERRUPTED, NOTHING_DONE, Outcome, Summary, describe, tell
from cli.resume import Journal, is_done
from cli.start import ended_at_once
from cli.table import open_table
from cluster.actor import ImageActor, Network, network_settings
from cluster.arguments import parser

COMMAND = "fcn-bulk"
BLOCK_IMAGES = 64  # most names in a block, which one actor does: what is done again at most when it is killed
BLOCKS_PER_ACTOR = 4  # at least, so that actors end at about the same time
CONNECT_S = 10.0
BATCH_IMAGES = 16  # of a block, in one call of an actor


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status, as `fcn-segment` does: 0, 2, 3 or 130."""
    try:
        return _run(parser().parse_args(argv))
    except KeyboardInterrupt:
        tell("interrupted; answers that were written are whole, and --resume does the rest", COMMAND)
        return INTERRUPTED
    except Exception as error:
        tell(describe(error), COMMAND)
        return NOTHING_DONE


def _run(args: argparse.Namespace) -> int:
    if bool(args.inputs) == (args.from_file is not None):
        raise OSError("give IN or --from-file, and not both; see fcn-bulk --help")
    listing = list_names(args.from_file, args.out) if args.from_file is not None else list_inputs(args.inputs, args.out)
    answers = open_answers(args.out, rendering(args).suffix, single=False)
    with ended_at_once(COMMAND):  # imports large packages
        ray = _ray()
    _check_address(args.address)
    ray.init(args.address, logging_level="error", log_to_driver=False)
    try:
        return _segment(ray, args, listing, answers)
    except ray.exceptions.RayError as error:
        # the line that matters is the last one: a cluster's errors have the traceback of another process
        raise OSError(f"the job has ended: {str(error).strip().splitlines()[-1]}; --resume does the rest") from error
    finally:
        ray.shutdown()


def _segment(ray: Any, args: argparse.Namespace, listing: Listing, answers: Answers) -> int:
    network = Network(
        weights=args.weights, runtime=args.runtime, device=args.device, precision=args.precision,
        threads=args.threads or (0 if args.gpus else args.cpus),
        options=replace(options(args), mean_confidence=args.results is not None),
        megapixels=args.max_megapixels, deadline_s=args.deadline,
    )  # fmt: skip
    resources = {"num_cpus": args.cpus, "num_gpus": args.gpus}
    if not any(_fits(node["Resources"], args.cpus, args.gpus) for node in ray.nodes() if node["Alive"]):
        tell(f"no node has {args.cpus} CPUs and {args.gpus:g} GPUs; waiting until the cluster gets one", COMMAND)
    settings = ray.get(ray.remote(**resources)(network_settings).remote(network))
    shard = args.shard or Shard()
    journal = Journal(answers, settings, shard, resume=args.resume)
    records, summary = Records(answers, open_table(args.results, shard, resume=args.resume), journal), Summary(COMMAND)
    answers.remove_stale()
    try:
        images = []
        for item in _images(listing, shard, answers, (journal, settings) if args.resume else None):
            if isinstance(item, bytes):
                images.append(item)
            else:
                records.add(item)
                summary.add(item)
        for outcome in _outcomes(ray, args, resources, images, (network, answers, listing, settings)):
            records.add(outcome)
            summary.add(outcome)
            if outcome.ends_run:
                break
    finally:
        records.close()
    return summary.finish(resumable=True)


def _check_address(address: str) -> None:
    """Raises `OSError` if nothing listens at `HOST:PORT`, for which Ray would wait for minutes."""
    host, separator, port = address.rpartition(":")
    if not separator or "/" in host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except OSError as error:
        raise OSError(f"nothing answers at {address} ({error}); see that the head of the cluster runs there") from error


def _fits(node: Mapping[str, float], cpus: float, gpus: float) -> bool:
    """Whether an actor fits on a node with these resources."""
    return node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus


def _images(listing: Listing, shard: Shard, answers: Answers, done: tuple[Journal, str] | None) -> Iterator[bytes | Outcome]:
    """The pickled inputs of the shard that are to be done, and the outcomes of the others."""
    for image in listing:
        if not shard.holds(image):
            continue
        if image.problem:
            yield Outcome(image, None, "failed", error=image.problem)
        elif _is_done(image, answers, done):
            yield Outcome(image, answers.target(image), "skipped")
        else:
            yield pickle.dumps(image)


def _is_done(image: Input, answers: Answers, done: tuple[Journal, str] | None) -> bool:
    if done is None:
        return False
    journal, settings = done
    with suppress(OSError):  # an image that cannot be read is told of by the actor that tries to
        return is_done(journal, settings, answers, image)
    return False


def _outcomes(
    ray: Any, args: argparse.Namespace, resources: dict[str, float], images: list[bytes], arguments: tuple[Any, ...]
) -> Iterator[Outcome]:
    """Does the images in a pool of actors, and yields outcomes as they come. arguments: of `ImageActor`."""
    if not images:
        return
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
        yield pickle.loads(row["outcome"])  # noqa: S301 (an actor of this job has pickled it)


def _ray() -> Any:
    try:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else it warns of its own doings at each start
        import ray
        import ray.data
    except ImportError as error:
        raise OSError("fcn-bulk needs the package ray; pip install 'fcn-segment[ray]'") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray
