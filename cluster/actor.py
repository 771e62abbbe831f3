"""Runs on the nodes of a Ray cluster: an actor that holds the network and the worker processes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cli.answers import Answers
from cli.inputs import Listing
from cli.local import Local, Network
from cli.resume import Notes
from cli.run import BulkJob

Batch = Mapping[str, Sequence[bytes]]
Load = Callable[[Network], Local]
"""Loads a network on the node that calls it, for the job's options. Raises as `Local.load`."""


def network_digest(load: Load, network: Network) -> tuple[str, str]:
    """On the node that runs this: the digest of options and model, as in `Journal`, and the instructions for all nodes."""
    local = load(network)
    try:
        return local.settings_digest(), local.instructions or network.cpu_isa
    finally:
        local.close()


class ImageActor:
    """Segments batches of images on one node. Ray makes one for each actor of the pool, and calls it on one thread.

    An image's error, also a passed deadline, becomes its outcome: the actor lives on. Raises `ValueError` at its start if this
    node would give other bytes than the first one: another file, runtime, precision or instructions. notes, force: as of
    `BulkJob`.
    """

    def __init__(
        self, load: Callable[[], Local], answers: Answers, listing: Listing, digest: str, notes: Notes, force: bool
    ) -> None:
        self._local = load()
        if (own := self._local.settings_digest()) != digest:
            self._local.close()
            raise ValueError(
                f"this node would answer with settings {own}, and the job began with {digest}; give all nodes the same "
                "weights file and package, and say --runtime, --precision and --cpu-isa"
            )
        self._job = BulkJob(self._local, answers, listing, digest, notes=notes, force=force)
        self._pool = ThreadPoolExecutor(self._local.workers)

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """Column `image`: pickled `Input`s. The result's column `outcome`: pickled `Outcome`s."""
        images = [pickle.loads(image) for image in batch["image"]]  # noqa: S301 (the driver has pickled them)
        return {"outcome": [pickle.dumps(outcome) for outcome in self._pool.map(self._job, images)]}
