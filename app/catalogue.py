"""The networks that are served: loaded, warmed up, picked by name, and replaced while requests go on."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from app.engine import Engine
from app.engine_errors import EngineStopped
from app.jobs import Corridor
from app.pools import Pools
from app.settings import Settings
from imaging.decoding import Limits
from model.lanes import Lanes
from model.predictor import Predictor
from model.segmentation import Options, segment_image
from model.tiling import UNIT
from model.weights_file import Weights, load_weights


class UnknownModel(ValueError):
    """A model's name that none of those served has."""


class Catalogue:
    """The corridors by their model's name; the first is the default. Empty until `load`."""

    def __init__(self, settings: Settings, pools: Pools, on_batch: Callable[[int, float], None]) -> None:
        self.settings = settings
        self.corridors: dict[str, Corridor] = {}
        self._pools = pools
        self._on_batch = on_batch
        self._lock = threading.Lock()

    def load(self) -> None:
        """Loads every weights file and serves them from now on; those served until now end when their requests have.

        Raises `ValueError`, `RuntimeError` or `OSError`, and then all stays as it was.
        """
        fresh: dict[str, Corridor] = {}
        try:
            for path in self.settings.weights_files:
                self._add(fresh, path)
        except BaseException:
            _stop(fresh)
            raise
        _settle(again=bool(self.corridors))
        with self._lock:
            old, self.corridors = self.corridors, fresh
        for corridor in old.values():
            corridor.retire()

    def enter(self, name: str | None) -> Corridor:
        """The corridor of this model, or the default; it stays until its `leave`. Raises `UnknownModel`, `EngineStopped`."""
        with self._lock:
            corridor = self.pick(name)
            corridor.enter()
            return corridor

    def pick(self, name: str | None = None) -> Corridor:
        """As `enter`, for a look."""
        corridors = self.corridors
        if not corridors:
            raise EngineStopped("starting: weights are being loaded and warmed up")
        name = name or next(iter(corridors))
        if name not in corridors:
            raise UnknownModel(f"model must be one of {', '.join(corridors)}, got {name!r}")
        return corridors[name]

    def stop(self) -> None:
        _stop(self.corridors)

    def _add(self, corridors: dict[str, Corridor], path: Path) -> None:
        weights = load_weights(path)
        if weights.name in corridors:
            raise ValueError(f"two weights files are named {weights.name}; a model's name must be its own")
        lanes = [self._lanes(weights, device) for device in self.settings.devices]
        limits = Limits(self.settings.max_megapixels)
        corridors[weights.name] = Corridor(lanes[0].predictor, self._engine(lanes), limits, self._pools)

    def _lanes(self, weights: Weights, device: str) -> Lanes:
        predictor = Predictor(weights, device, self.settings.dtype, graphs=self.settings.cuda_graphs)
        lanes = Lanes(predictor, self.settings.cpu_threads, self._pools.slots)
        predictor.warm_up(self.settings.tile_size)
        # what comes after the network is recorded or loaded when it first runs
        segment_image(predictor, np.zeros((UNIT, UNIT, 3), np.uint8), Options(tile=self.settings.tile_size, side=UNIT))
        return lanes

    def _engine(self, lanes: list[Lanes]) -> Engine:
        settings = self.settings
        engine = Engine(
            [lane for each in lanes for lane in each.each()],
            max_batch_tiles=min(settings.max_batch_tiles, lanes[0].batch_tiles or settings.max_batch_tiles),
            batch_wait_s=settings.batch_wait_ms / 1000,
            max_queued_tiles=settings.max_queued_tiles,
            on_batch=self._on_batch,
            placed=lanes[0].placed,
        )
        engine.start()
        return engine


def _settle(*, again: bool) -> None:
    """Keeps the collector from what stays: to look through a loaded process stops every thread for a quarter of a second."""
    if again:
        gc.unfreeze()
        gc.collect()
    gc.freeze()


def _stop(corridors: dict[str, Corridor]) -> None:
    for corridor in corridors.values():
        corridor.engine.stop()
