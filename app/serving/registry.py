"""The models that are served: loaded, warmed up, picked by name, and replaced while requests go on."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from itertools import zip_longest
from math import ceil

import numpy as np

from app.serving.budget import BODIES_SHARE, PLANNING_BYTES
from app.serving.errors import NotServing, UnknownModel
from app.settings import Settings
from app.telemetry import shown
from imaging.decoding import Limits
from imaging.encoding import grey_png
from model.inference.loading import load_runtime
from model.inference.runtime import DistantRuntime
from model.inference.scaling import working_size
from model.inference.scheduler import Scheduler
from model.inference.segmenter import Options, Segmenter
from model.weights_file import find_files


class Model:
    """A network that is served: its segmenter, the scheduler in front of its runtimes, and how many requests use it.

    description: its runtime's, as worker processes are told.
    """

    def __init__(self, segmenter: Segmenter, scheduler: Scheduler) -> None:
        self.segmenter = segmenter
        self.scheduler = scheduler
        self.name = segmenter.runtime.identity.name
        self.description = pickle.dumps(DistantRuntime.of(segmenter.runtime))
        self.users = 0


class Registry:
    """Models by name; the first is the default. Empty until `load`.

    Any thread may call it; `_lock` guards `models` and the counts of users, and `_unused` tells when one falls to 0.
    """

    def __init__(self, settings: Settings, on_batch: Callable[[int, float], None], on_failure: Callable[[str], None]) -> None:
        self.models: dict[str, Model] = {}
        self._replaced: list[Model] = []
        self._settings = settings
        self._on_batch = on_batch
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._unused = threading.Condition(self._lock)

    def load(self) -> None:
        """Loads every weights file and serves them from now on; those served until now end when their requests have.

        Raises `ValueError`, `RuntimeError` or `OSError`, and then all stays as it was.
        """
        fresh: dict[str, Model] = {}
        try:
            for name, expected in zip_longest(self._settings.weights_names, self._settings.weights_sha256):
                model = self._load(name, expected)
                if model.name in fresh:
                    model.scheduler.stop()
                    raise ValueError(f"two weights files are named {model.name}; a model's name must be its own")
                fresh[model.name] = model
        except BaseException:
            for model in fresh.values():
                model.scheduler.stop()
            raise
        with self._lock:
            self._replaced = old = list(self.models.values())
            self.models = fresh
            self._unused.wait_for(lambda: not any(model.users for model in old))
        for model in old:
            model.scheduler.stop()
        self._replaced = []

    def acquire(self, name: str | None = None) -> Model:
        """The model of this name, or the default; it stays until `release`. Raises `UnknownModel` or `NotServing`."""
        with self._lock:
            model = self.get(name)
            model.users += 1
            return model

    def release(self, model: Model) -> None:
        with self._lock:
            model.users -= 1
            self._unused.notify_all()

    def get(self, name: str | None = None) -> Model:
        """As `acquire`, for a look."""
        models = self.models
        if not models:
            raise NotServing("starting: weights are being loaded and warmed up", "starting")
        name = name or next(iter(models))
        if name not in models:
            raise UnknownModel(f"model must be one of {', '.join(models)}, got {shown(name)}")
        return models[name]

    def schedulers(self) -> list[Scheduler]:
        """Of the models that are served, and of those that were replaced and have not ended yet."""
        with self._lock:
            return [model.scheduler for model in (*self.models.values(), *self._replaced)]

    def stop(self) -> None:
        for model in self.models.values():
            model.scheduler.stop()

    def _load(self, name: str, expected: str | None) -> Model:
        settings = self._settings
        files = find_files(name)
        runtimes = [
            load_runtime(files, settings.runtime, device, settings.precision, settings.threads) for device in settings.devices
        ]
        for runtime in runtimes:
            found = runtime.file_sha256
            if expected and found not in expected.split("/"):
                stated = f"the file that was loaded for the weights {name} has the sha256 {found}"
                raise ValueError(f"{stated}, and SEGMENT_WEIGHTS_SHA256 expects {expected}")
        segmenters = [Segmenter(runtime, Limits(settings.max_megapixels)) for runtime in runtimes]
        for segmenter in segmenters:
            segmenter.warm_up(settings.tile_size)
        check_limits(segmenters[0], settings)
        scheduler = Scheduler(
            runtimes, max_batch=settings.max_batch_tiles, on_batch=self._on_batch, on_failure=self._on_failure,
            clock=time.monotonic,
        )  # fmt: skip
        scheduler.start()
        return Model(segmenters[0], scheduler)


def check_limits(segmenter: Segmenter, settings: Settings) -> None:
    """Raises `ValueError`, with the least value, where a limit would refuse every image: one pixel is tried."""
    data = grey_png(np.zeros((1, 1), np.uint8))
    options = Options(settings.tile_size, settings.overlap, settings.blend)
    height, width = working_size((1, 1), options.side, segmenter.manifest.preprocessing.side)
    limits: list[tuple[str, float, float]] = [("MAX_MEGAPIXELS", settings.max_megapixels, height * width / 1e6)]
    if settings.max_megapixels >= height * width / 1e6:
        plan = segmenter.plan(data, options)
        megabytes = ceil((segmenter.taken_bytes(data, plan) + PLANNING_BYTES) / (1 - BODIES_SHARE) / 1e6)
        limits += [("MEMORY_MB", settings.memory_bytes / 1e6, megabytes)]
        limits += [("MAX_QUEUED_TILES", settings.max_queued_tiles, plan.tile_count)]
    for name, value, least in limits:
        if value < least:
            stated = (
                f"SEGMENT_{name} is {value:g}, and {segmenter.runtime.identity.name} takes no image with less than {least:g}"
            )
            raise ValueError(f"{stated}; raise it")
