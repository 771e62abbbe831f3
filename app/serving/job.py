"""A request's image on its way through the service, and its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.serving.admission import Reservation
from app.serving.rates import Kind
from app.serving.registry import Model
from model.inference.processes.messages import Body, Image, WorkerPlan

LARGE_MEGAPIXELS = 4.0  # larger images count as large: few run at once, so that they never keep small ones waiting
STAGES = ("decode", "queue", "inference", "encode")


@dataclass(frozen=True)
class Answer:
    """An answer. The caller closes `body`. encoding: `gzip`, or empty. size: the image's. seconds: of each stage.

    model: its name. class_pixels: of every class of the model, by name. mean_confidence: of all pixels, 0 to 1; None if the
    answer did not need it.
    """

    body: Body
    encoding: str
    size: tuple[int, int]
    seconds: dict[str, float]
    model: str
    class_pixels: dict[str, int]
    mean_confidence: float | None

    @property
    def milliseconds(self) -> dict[str, float]:
        return {stage: round(self.seconds.get(stage, 0.0) * 1000, 1) for stage in STAGES}


@dataclass(frozen=True)
class Job:
    """A request's image, the name of its model (None for the default), and its reservation.

    `check` is called with the model and the image's plan. If it raises, the work ends with its error.
    """

    image: Image
    model: str | None
    reservation: Reservation
    check: Callable[[Model, WorkerPlan], None] = lambda *_: None


def kind_of(job: Job, plan: WorkerPlan) -> Kind:
    """The kind of the job's image, for estimates of the time that a worker needs for it."""
    options = job.image.options
    return Kind(plan.megapixels > LARGE_MEGAPIXELS, options.rendering.format, options.rendering.mask, options.quality)
