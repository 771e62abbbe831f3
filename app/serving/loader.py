"""Loads the models when the service starts, and reads weights files and keys again on request, in the background."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from app.serving.registry import Registry
from app.settings import Settings
from model.inference.loading import unused_gpu

NO_NETWORK = "the loading of the network has ended without a network"
log = logging.getLogger("segment")


class Loader:
    """Reads weights files and keys on threads of its own. Any thread may call it; `_lock` allows one load at a time.

    fail: called with the reason if the first load ends without a network. api_keys: as read last. warning: of a GPU that
    torch cannot use, or None.
    """

    def __init__(self, settings: Settings, registry: Registry, fail: Callable[[str], None]) -> None:
        self.api_keys = settings.read_api_keys()
        self.warning = unused_gpu() if settings.devices == ("auto",) else None
        self._settings, self._registry, self._fail = settings, registry, fail
        self._is_stopped = False
        self._lock = threading.Lock()
        self._next_reload = threading.Lock()  # held by the reload that waits for `_lock`
        self._thread = threading.Thread(target=self._load, name="loader", daemon=True)

    def start(self) -> None:
        """Loads and warms up the models."""
        self._thread.start()

    def reload(self) -> None:
        """Reads the key file and the weights files again; requests go on. One reload waits at most; it does for all later ones.

        If the key file cannot be read, the former keys stay. If a weights file cannot be read, the former models stay.
        """
        threading.Thread(target=self._reload, name="reloader", daemon=True).start()

    def stop(self) -> None:
        """Does not wait for a load in progress: once it is done, its models are stopped."""
        self._is_stopped = True

    @property
    def problem(self) -> str | None:
        """Why there will never be a model, or None."""
        has_ended = self._thread.ident and not self._thread.is_alive()
        return NO_NETWORK if has_ended and not self._registry.models else None

    def _load(self) -> None:
        try:
            if error := self._read_weights("ready"):
                self._fail(f"the network could not be loaded: {error}")
        finally:
            if not self._registry.models:  # also after an unexpected error, whose traceback Python prints as this thread ends
                self._fail(NO_NETWORK)

    def _reload(self) -> None:
        try:
            self.api_keys = self._settings.read_api_keys()
        except ValueError as error:
            log.error("keys are not reloaded: %s; the former keys stay in use", error)
        if not self._next_reload.acquire(blocking=False):
            return  # another one waits, and reads the files after this moment
        if reason := self._read_weights("reloaded", self._next_reload.release):
            log.error("not reloaded: %s; the networks loaded before stay in service", reason)

    def _read_weights(self, message: str, on_turn: Callable[[], None] = lambda: None) -> str | None:
        """Waits for its turn, calls `on_turn`, loads the models, and logs `message` with each model's facts.

        Returns the problem, or None.
        """
        with self._lock:
            on_turn()
            start = time.perf_counter()
            try:
                self._registry.load()
                if self._is_stopped:
                    self._registry.stop()
            except (ValueError, RuntimeError, OSError, ImportError, MemoryError) as error:
                return str(error) or type(error).__name__
        seconds = round(time.perf_counter() - start, 2)
        if self.warning:
            log.warning(self.warning)
        for name, model in self._registry.models.items():
            runtime = model.segmenter.runtime
            facts = {"model": name, "seconds": seconds, **runtime.describe(), "sha256": runtime.identity.sha256}
            log.info(message, extra={"fields": facts})
        return None
