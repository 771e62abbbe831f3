"""Runs on the nodes of a Ray cluster: an actor that holds the network and the worker processes."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from cli.answers import Answers
from cli.inputs import Listing
from cli.local import Local, Network
from cli.resume import Notes
from cli.run import BulkJob
from model.inference.plan import Options

Batch = Mapping[str, Sequence[bytes]]


@dataclass(frozen=True)
class ImageWork:
    """How every node segments images: the network, which it loads, and the options.

    network: its weights are a name or a path that every node has. deadline_s: most seconds from reading an image to its answer.
    """

    network: Network
    options: Options
    megapixels: float
    deadline_s: float

    def load(self) -> Local:
        """Raises as `Local.load`."""
        return Local.load(self.network, self.options, megapixels=self.megapixels, deadline_s=self.deadline_s)


def network_digest(work: ImageWork) -> tuple[str, str]:
    """On the node that runs this: the digest of options and model, as in `Journal`, and the instructions for all nodes."""
    local = work.load()
    try:
        return local.settings_digest(), local.instructions or work.network.cpu_isa
    finally:
        local.close()


class ImageActor:
    """Segments batches of images on one node. Ray makes one for each actor of the pool, and calls it on one thread.

    An image's error, also a passed deadline, becomes its outcome: the actor lives on. Raises `ValueError` at its start if this
    node would give other bytes than the first one: another file, runtime, precision or instructions. notes, force: as of
    `BulkJob`.
    """

    def __init__(self, work: ImageWork, answers: Answers, listing: Listing, digest: str, notes: Notes, force: bool) -> None:
        self._local = work.load()
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
