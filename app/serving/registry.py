"""The models in service: loads them, warms them up, finds them by name, and replaces them while requests go on.

They load when the service starts; weights files and keys are read again on request, in the background.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from math import ceil

import numpy as np

from app.serving.admission import BODIES_SHARE, FIRST_BYTES
from app.serving.errors import NotServing, UnknownModel
from app.settings import Settings
from common.printable import excerpt
from imaging.decoding import Limits
from imaging.encoding import grey_png
from model.inference.instructions import DECISION
from model.inference.loading import load_runtime, unused_gpu
from model.inference.plan import Options
from model.inference.runtime import Runtime
from model.inference.scaling import working_size
from model.inference.scheduler import OnBatch, Scheduler
from model.inference.segmenter import Segmenter
from model.weights_file import find_files

NO_NETWORK = "the loading of the network has ended without a network"
log = logging.getLogger("segment")


class Model:
    """A network in service: its segmenter, the scheduler of its runtimes, and the number of requests that use it.

    pickled_runtime: a pickled `Runtime`, which tells worker processes about the runtime.
    """

    def __init__(self, segmenter: Segmenter, scheduler: Scheduler) -> None:
        self.segmenter = segmenter
        self.scheduler = scheduler
        self.name = segmenter.runtime.identity.name
        self.pickled_runtime = pickle.dumps(Runtime.of(segmenter.runtime))
        self.users = 0


class Registry:
    """Models by name; the first is the default. Beside them, the keys of clients.

    At the start, each model is served as soon as it is warmed up. A reload replaces all models at once, after that.
    Any thread may call it. Weights files are read on threads of its own; `_loading` allows one load at a time. `_change` guards
    `models` and the counts of users, and is notified when a user ends.
    fail: called with the reason if the first load ends without a model. api_keys: as read last. warning: of a GPU that torch
    cannot use, or None. names: of all models. starting: what the first load is doing; None once all are served.
    """

    def __init__(self, settings: Settings, on_batch: OnBatch, fail: Callable[[str], None]) -> None:
        self.models: dict[str, Model] = {}
        self.names = [find_files(name).name for name in settings.weights]
        self.starting: str | None = "starting: about to load the weights"
        self.api_keys = settings.read_api_keys()
        self.warning = unused_gpu() if settings.device == ("auto",) else None
        self._former_models: list[Model] = []
        self._settings, self._on_batch, self._fail = settings, on_batch, fail
        self._is_stopped = False
        self._loading = threading.Lock()
        self._is_waiting = False  # a load waits for the one in progress
        self._change = threading.Condition()

    def start(self) -> None:
        """Loads and warms up the models in the background."""
        threading.Thread(target=self._run, name="loader", daemon=True).start()

    def reload(self) -> None:
        """Reads the key file now, and the weights files in the background; requests go on.

        One reload waits at most; it does for all later ones. If the key file cannot be read, the former keys stay. If a weights
        file cannot be read, the former models stay. Only for the event loop.
        """
        try:
            self.api_keys = self._settings.read_api_keys()
        except ValueError as error:
            log.error("keys are not reloaded: %s; the former keys stay in use", error)
        if not self._is_waiting:
            self._is_waiting = True
            self.start()

    def stop(self) -> None:
        """Stops the models. Does not wait for a load in progress: once it is done, its models are stopped."""
        self._is_stopped = True
        for model in self.models.values():
            model.scheduler.stop()

    def _run(self) -> None:
        """Waits for its turn, loads the models, and logs each model's facts, or the problem."""
        with self._loading:
            self._is_waiting = False
            start, message = time.perf_counter(), "ready" if self.starting else "reloaded"
            try:
                self.load()
                if self._is_stopped:
                    self.stop()
            except (ValueError, RuntimeError, OSError, ImportError, MemoryError) as error:
                reason = str(error) or type(error).__name__
                if not self.models:
                    self._fail(f"the network could not be loaded: {reason}")
                else:
                    log.error("not reloaded: %s; the networks loaded before stay in service", reason)
                return
            finally:
                if not self.models:  # also after an unexpected error, whose traceback Python prints as this thread ends
                    self._fail(NO_NETWORK)
        seconds = round(time.perf_counter() - start, 2)
        if self.warning:
            log.warning(self.warning)
        for name, model in self.models.items():
            runtime = model.segmenter.runtime
            facts = {"model": name, "seconds": seconds, **runtime.describe(), "sha256": runtime.identity.sha256}
            facts["instructions_reason"] = DECISION.reason or None
            log.info(message, extra={"fields": facts})

    def load(self) -> None:
        """Loads every weights file and serves these models from now on, the first time each as soon as it is warmed up.

        Returns once all requests of the former models have ended and their schedulers are stopped. If it raises, the former
        models stay in service.
        """
        fresh: dict[str, Model] = {}
        former = self.models
        try:
            for name, digests in zip_longest(self._settings.weights, self._settings.weights_sha256):
                model = self._load(name, digests)
                fresh[model.name] = model
                if self.starting:
                    self.models = dict(fresh)
        except BaseException:
            self.models = former
            for model in fresh.values():
                model.scheduler.stop()
            raise
        with self._change:
            self._former_models, self.models, self.starting = list(former.values()), fresh, None
            self._change.wait_for(lambda: not any(model.users for model in self._former_models))
        for model in self._former_models:
            model.scheduler.stop()
        self._former_models = []

    @contextmanager
    def using(self, name: str | None = None) -> Iterator[Model]:
        """The model of this name, or the default, which keeps running until the block ends.

        Raises `UnknownModel` or `NotServing`.
        """
        with self._change:
            model = self.get(name)
            model.users += 1
        try:
            yield model
        finally:
            with self._change:
                model.users -= 1
                self._change.notify_all()

    def get(self, name: str | None = None) -> Model:
        """Returns the model as `using` does, but a reload may stop it at any time. For reading its facts."""
        starting, models = self.starting, self.models
        name = name or next(iter(models or self.names))
        if name in models:
            return models[name]
        if starting and name in self.names:
            raise NotServing(starting, "starting")
        raise UnknownModel(f"model must be one of {', '.join(self.names if starting else models)}, got {excerpt(name)}")

    def schedulers(self) -> list[Scheduler]:
        """The schedulers of the models in service, and of replaced models whose requests have not ended yet."""
        with self._change:
            return [model.scheduler for model in (*self.models.values(), *self._former_models)]

    def _load(self, name: str, digests: str | None) -> Model:
        settings, files = self._settings, find_files(name)
        self._log_step("loading and compiling", files.name)
        options = (settings.precision, settings.threads, settings.cpu_isa)
        runtimes = [load_runtime(files, settings.runtime, device, *options) for device in settings.device]
        for runtime in runtimes:
            sha256 = runtime.file_sha256
            if digests and sha256 not in digests.split("/"):
                message = f"the file that was loaded for the weights {name} has the sha256 {sha256}"
                raise ValueError(f"{message}, and SEGMENT_WEIGHTS_SHA256 expects {digests}")
        segmenters = [Segmenter(runtime, Limits(settings.max_megapixels)) for runtime in runtimes]
        self._log_step("warming up", files.name)
        for segmenter in segmenters:
            segmenter.warm_up(settings.tile)
        check_limits(segmenters[0], settings)
        most = settings.max_batch_tiles or None
        scheduler = Scheduler(runtimes, max_batch=most, on_batch=self._on_batch, on_failure=self._fail)
        scheduler.start()
        return Model(segmenters[0], scheduler)

    def _log_step(self, step: str, name: str) -> None:
        """Logs what a load is doing with the model of this name, since either step may take minutes."""
        log.info(step, extra={"fields": {"model": name}})
        if self.starting:
            self.starting = f"starting: {step} {name}"


def check_limits(segmenter: Segmenter, settings: Settings) -> None:
    """Raises `ValueError`, with the least value that works, if a limit refuses even an image of one pixel."""
    data = grey_png(np.zeros((1, 1), np.uint8))
    options = Options(settings.tile, settings.overlap, settings.blend)
    height, width = working_size((1, 1), options.side, segmenter.manifest.preprocessing.side)
    limits: list[tuple[str, float, float]] = [("MAX_MEGAPIXELS", settings.max_megapixels, height * width / 1e6)]
    if settings.max_megapixels >= height * width / 1e6 and not segmenter.manifest.preprocessing.is_multispectral:
        plan = segmenter.plan(data, options)
        network_bytes, _ = segmenter.network_cost(plan)
        needed_bytes = max(segmenter.memory_bytes(data, plan) + network_bytes + len(data), FIRST_BYTES) / (1 - BODIES_SHARE)
        limits += [("MEMORY_MB", ceil(settings.memory_bytes / 1e6), ceil(needed_bytes * settings.memory_shares / 1e6))]
        limits += [("MAX_QUEUED_TILES", settings.max_queued_tiles, plan.tile_count)]
    for name, value, least in limits:
        if value < least:
            model = segmenter.runtime.identity.name
            raise ValueError(f"SEGMENT_{name} is {value:g}, and {model} takes no image with less than {least:g}; raise it")
