"""The program of a process that reads one scene and writes its results. `scene_process` is the front's side.

The main thread writes; others read, cut and merge, as `model.inference.scenes.rows` says; one receives logits.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import signal
import socket
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from common.whole_file import remove_partials
from imaging.errors import DamagedImage
from imaging.georeferenced.scene import SAFE_DRIVERS, Scene, open_scene
from model.inference.errors import NO_SPACE, NoRoom
from model.inference.merging import Logits
from model.inference.processes.confinement import begin_program, confine, limit, unlimit
from model.inference.processes.conversation import Front
from model.inference.processes.protocol import MOST_MESSAGE, error_head
from model.inference.processes.scene_process import SceneTask
from model.inference.runtime import Runtime, Tile
from model.inference.scenes.outputs import existing_key, write_output
from model.inference.scenes.rows import ClassRows
from model.inference.scenes.rows_file import ENDING, RowsFile
from model.inference.scenes.work import SceneWork, all_rows, common_work, new_rows, plan_works

MEMORY_BYTES = 2 << 30  # that the process may take besides its libraries
SECONDS = 1800.0  # of processor time until the next rows are done, or a result is written
PLAN_BYTES, PLAN_SECONDS = 512 << 20, 10.0  # the same, until the scene is planned
KEEP_S = 2.0  # after which the tiles of unfinished rows are kept one by one
NAME, TILES_ENDING = "the file", ".tiles"
OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)( (?=[0-9A-Z]))?")  # of a command, and the space before its value


def main(descriptor: int, parent: int) -> None:
    """Works on the task that comes on this socket from the front, a process of this id. Exits when the front does."""
    begin_program(parent)
    front = Front(socket.socket(fileno=descriptor))
    try:
        task: SceneTask = front.receive()[0]
        confine([Path(task.folder)])
        limit(PLAN_BYTES, PLAN_SECONDS)
        try:
            _work(task, front)
            head: Mapping[str, object] = {"kind": "answer"}
        except ConnectionError:
            return
        except Exception as error:  # the front has to know of every one
            unlimit()
            head = _error_head(error, task)
        front.send(head)
    finally:
        os._exit(0)


def _work(task: SceneTask, front: Front) -> None:
    """Plans the scene, and writes the results from its rows. Goes on with the rows and the results that are kept."""
    runtime: Runtime = pickle.loads(task.runtime)  # noqa: S301
    labels, out = runtime.manifest.labels, task.requests[0].out
    with open_scene(task.requests[0].source, SAFE_DRIVERS, NAME) as scene:
        works = plan_works(task.requests, scene, runtime)
        common = common_work(works)
        front.send({"kind": "plan", "tiles": common.tile_count, "remark": in_parameters(common.bands.remark)[:MOST_MESSAGE]})
        limit(MEMORY_BYTES, SECONDS)
        network = _Network(front, task.ahead, _KeptTiles(Path(out + TILES_ENDING), common.rows_key))
        threading.Thread(target=network.receive_logits, name="logits", daemon=True).start()
        with _rows_file(Path(out + ENDING), common, scene, len(labels)) as rows:
            network_rows = common, scene, runtime, rows, network.submit, task.ahead
            if rows.next_row:  # rows of former turns: were the result written meanwhile, each turn would write them all again
                remove_partials(Path(task.folder))
                with closing(new_rows(*network_rows)) as parts:
                    deque(_tell(parts, common, rows, front, network.cache), maxlen=0)
            for work in works:
                if existing_key(work.request) == work.key:
                    continue
                with closing(all_rows(*network_rows)) as parts:
                    output_rows = _tell(parts, common, rows, front, network.cache)
                    write_output(work.request, work.place, output_rows, labels, work.facts(runtime))


def _rows_file(path: Path, work: SceneWork, scene: Scene, classes: int) -> RowsFile:
    """The working file: with the rows that are there, unless they are damaged, or another runtime or version gave them."""
    confidence = work.confidence
    try:
        return RowsFile(path, work.rows_key, scene.size, classes, confidence=confidence, resume=True)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        return RowsFile(path, work.rows_key, scene.size, classes, confidence=confidence, resume=False)


def _tell(parts: Iterator[ClassRows], work: SceneWork, rows: RowsFile, front: Front, cache: _KeptTiles) -> Iterator[ClassRows]:
    """The same rows. The front is told of the tiles of new ones, and the limit on processor time begins anew with each."""
    first_new_row, count = rows.next_row, 0
    for part in parts:
        if part.bottom > first_new_row and (tiles := work.tiles_above(part.bottom)) > count:
            front.send({"kind": "rows", "tiles": tiles})
            count = tiles
            cache.forget()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        yield part


class _KeptTiles:
    """Logits of tiles, in a file, so that a process that ends in a long row of tiles is not missed. Any thread may call it.

    key: what they depend on, besides the tile.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._key, self._lock, self._start = key, threading.Lock(), time.monotonic()
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for line in (
            "PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL",
            "CREATE TABLE IF NOT EXISTS tiles (digest BLOB PRIMARY KEY, part INTEGER, shape TEXT, logits BLOB)",
        ):  # fmt: skip
            self._file.execute(line)
        self._part: int = self._file.execute("SELECT COALESCE(MAX(part), 0) FROM tiles").fetchone()[0]

    def digest(self, tile: Tile) -> bytes:
        return hashlib.sha256(f"{self._key} {tile.shape}".encode() + tile.tobytes()).digest()

    def get(self, digest: bytes) -> Logits | None:
        with self._lock:
            row = self._file.execute("SELECT shape, logits FROM tiles WHERE digest = ?", (digest,)).fetchone()
        return np.frombuffer(row[1], np.float32).reshape(json.loads(row[0])) if row else None

    def add(self, digest: bytes, logits: Logits) -> None:
        """Keeps them, unless the last rows were done a moment ago, or there is no room."""
        if time.monotonic() >= self._start + KEEP_S:
            row = digest, self._part, json.dumps(logits.shape), logits.tobytes()
            with self._lock, suppress(sqlite3.OperationalError):
                self._file.execute("INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?)", row)

    def forget(self) -> None:
        """Begins a new part, since rows are done. Removes the tiles of all parts before the last one.

        Tiles of the last part may already belong to the next rows.
        """
        with self._lock:
            self._file.execute("DELETE FROM tiles WHERE part < ?", (self._part,))
            self._part, self._start = self._part + 1, time.monotonic()


class _Network:
    """The network, which the front runs. ahead: most tiles that are there without logits. cache: keeps their logits."""

    def __init__(self, front: Front, ahead: int, cache: _KeptTiles) -> None:
        self.cache, self._front, self._lock, self._room = cache, front, threading.Lock(), threading.Semaphore(ahead)
        self._waiting: deque[tuple[bytes, Future[Logits]]] = deque()

    def submit(self, tile: Tile) -> Future[Logits]:
        """Sends a tile that is not kept, once there is room for it; the future gets its logits. Any thread may call it."""
        future, digest = Future[Logits](), self.cache.digest(tile)
        if (logits := self.cache.get(digest)) is not None:
            future.set_result(logits)
            return future
        self._room.acquire()
        with self._lock:
            self._waiting.append((digest, future))
            self._front.send_tile(tile)
        return future

    def receive_logits(self) -> None:
        """Receives logits until the front closes its end, which ends this process."""
        try:
            while True:
                logits = self._front.receive_logits()
                self._room.release()
                digest, future = self._waiting.popleft()
                self.cache.add(digest, logits)
                future.set_result(logits)
        finally:
            os._exit(0)


def _error_head(error: Exception, task: SceneTask) -> dict[str, object]:
    """What the front is told of an error, without paths, in the words of HTTP."""
    if isinstance(error, MemoryError):
        error = DamagedImage(f"the scene needs more than {MEMORY_BYTES / 1e9:.1f} GB of memory; cut it into parts")
    elif isinstance(error, OSError) and error.errno in NO_SPACE:
        error = NoRoom("there is no room on the service's disk; try again later")
    head = error_head(error)
    message = str(head["message"]).replace(task.requests[0].source, NAME).replace(os.path.join(task.folder, ""), "")
    return head | {"message": in_parameters(message)}


def in_parameters(text: str) -> str:
    """A text with the parameters of a job in place of the command's options: `bands=1` for `--bands 1`."""
    return OPTION.sub(lambda match: match[1].replace("-", "_") + ("=" if match[2] else ""), text)
