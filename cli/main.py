"""`fcn-segment`: segments files and folders. Writes the same bytes that the service would answer."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Protocol

from tqdm import tqdm

from cli.arguments import options, parser, rendering
from cli.files import STDIO, Item, plan_items, remove_partials, write_whole
from cli.local import Local
from cli.remote import Remote, ServerUnusable
from cli.report import (
    INTERRUPTED,
    NOTHING_DONE,
    PIPE_CLOSED,
    Outcome,
    describe,
    discard_stdout,
    print_line,
    summarize,
    tell,
    write_stdout,
)
from cli.start import ended_at_once
from imaging.decoding import Limits
from model.inference.errors import SchedulerEnded
from model.inference.loading import load_runtime, unused_gpu
from model.inference.runtime import DeviceLost
from model.weights_file import find_files

THREADS = "fcn-segment image"
GRACE_S = 2.0  # how long an interrupted run waits for the images in progress
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # errors of the disk, which affect every answer


class Segmenting(Protocol):
    """Turns image files' bytes into answers. `workers` threads call it at once."""

    @property
    def workers(self) -> int: ...

    def __call__(self, data: bytes, name: str) -> bytes: ...


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status.

    0: all images are done. 2: nothing could be done. 3: some images failed and the others are done. 130: interrupted by
    Ctrl-C. 141: the reader of stdout is gone; a program that the signal SIGPIPE ends has the same status.
    """
    try:
        return _run(parser().parse_args(argv))
    except KeyboardInterrupt:
        tell("interrupted; answers that were written are whole, and --resume does the rest")
        return _leave(INTERRUPTED)
    except BrokenPipeError:
        discard_stdout()
        return _leave(PIPE_CLOSED)
    except Exception as error:
        tell(describe(error))
        return NOTHING_DONE


def _run(args: argparse.Namespace) -> int:
    if args.json and args.out == STDIO:
        raise OSError("--json and -o - would both write to stdout; give a file or a folder")
    if args.json and sys.stdout is None:
        raise OSError("--json has nowhere to write: stdout is closed")
    items = plan_items(args.inputs, args.out, rendering(args).suffix, tell)
    done = {item for item in items if args.resume and item.done}
    outcomes = []
    with _segmenting(args) if len(done) < len(items) else nullcontext() as segment:
        rest = [item for item in items if item not in done]
        with closing(run_all(segment, rest) if segment else _nothing()) as running:
            for outcome in running:
                outcomes.append(outcome)
                if args.json:
                    print_line(outcome.line())
        for item in items:
            if item in done:
                outcomes.append(Outcome(item, "skipped"))
                if args.json:
                    print_line(outcomes[-1].line())
    return summarize(outcomes)


def _segmenting(args: argparse.Namespace) -> AbstractContextManager[Segmenting]:
    if args.server is not None:
        return closing(Remote(args))
    segment_options = options(args)
    with ended_at_once("fcn-segment"):  # `load_runtime` imports large packages
        if args.device == "auto" and (warning := unused_gpu()):
            tell(warning)
        runtime = load_runtime(find_files(args.weights), args.runtime, args.device, args.precision, args.threads)
    segment_options.rendering.class_ids(runtime.manifest.labels.classes)  # raises for a class that the model lacks
    return closing(Local(runtime, segment_options, Limits(args.max_megapixels), args.threads))


def run_all(segmenting: Segmenting, items: Sequence[Item]) -> Generator[Outcome]:
    """Segments the images on several threads and yields their outcomes in order.

    An image's error becomes its outcome, and the others continue. An error that affects every image (the device or the server
    is lost, the disk is full) becomes the outcome of all images that have not begun. If the generator is closed or
    interrupted, it waits up to `GRACE_S` seconds for the images in progress.
    """
    run_ended = threading.Event()
    reason = ""

    def run(item: Item) -> Outcome:
        nonlocal reason
        if run_ended.is_set():
            return Outcome(item, "failed", 0.0, reason, ends_run=True)
        started = time.perf_counter()
        try:
            _write(item, segmenting(_read(item), item.file_name))
        except BrokenPipeError:
            raise
        except Exception as error:
            ends_run = _affects_every_image(error)
            if ends_run and not run_ended.is_set():
                reason = describe(error)
                run_ended.set()
            return Outcome(item, "failed", time.perf_counter() - started, describe(error), ends_run)
        return Outcome(item, "done", time.perf_counter() - started)

    if len(items) == 1:
        yield run(items[0])
        return
    pool = ThreadPoolExecutor(segmenting.workers, THREADS)
    try:
        futures = [pool.submit(run, item) for item in items]
        with tqdm(total=len(items), unit="image", disable=not (sys.stderr and sys.stderr.isatty())) as bar:
            for future in futures:
                outcome = future.result()
                bar.update()
                yield outcome
        pool.shutdown()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        if not _ended_within_grace():
            remove_partials(item.target for item in items if item.target)
        raise


def _nothing() -> Generator[Outcome]:
    yield from ()


def _ended_within_grace() -> bool:
    """Waits up to `GRACE_S` seconds, and returns whether all images in progress have ended. A second Ctrl-C ends the wait."""
    end = time.monotonic() + GRACE_S
    try:
        for thread in _image_threads():
            thread.join(max(0.0, end - time.monotonic()))
    except KeyboardInterrupt:
        return False
    return not _image_threads()


def _leave(status: int) -> int:
    """Returns the status; if an image is still in progress, ends the process with this status at once instead.

    Otherwise the interpreter would wait for the image's thread for as long as a server does not answer.
    """
    if _image_threads():
        os._exit(status)
    return status


def _image_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(THREADS)]


def _affects_every_image(error: Exception) -> bool:
    return isinstance(error, DeviceLost | SchedulerEnded | ServerUnusable) or (
        isinstance(error, OSError) and error.errno in NO_ROOM
    )


def _read(item: Item) -> bytes:
    if item.source is None:
        if sys.stdin is None:
            raise OSError("it is closed; give a file, or send one there")
        return sys.stdin.buffer.read()
    if item.source.exists() and not item.source.is_file():  # reading a pipe could wait for ever
        raise OSError("it is no file, but a folder, a pipe, a socket or a device; - reads stdin")
    return item.source.read_bytes()


def _write(item: Item, data: bytes) -> None:
    if item.target is None:
        write_stdout(data)
    else:
        write_whole(item.target, data)
