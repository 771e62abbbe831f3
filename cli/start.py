"""Where the commands start: nothing of ours is imported at the top, so that Ctrl-C is a line from the first moment on."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

INTERRUPTED, NOTHING_DONE = 130, 2


def segment() -> int:
    return _run("fcn-segment", "cli.main")


def serve() -> int:
    return _run("fcn-serve", "app.main")


def train() -> int:
    return _run("fcn-train", "training.commands.train")


def evaluate() -> int:
    return _run("fcn-evaluate", "training.commands.evaluate")


def export() -> int:
    return _run("fcn-export", "training.commands.export")


@contextmanager
def ended_at_once(command: str) -> Iterator[None]:
    """While it lasts, Ctrl-C ends the process at once, with a line and status 130.

    For imports: the exception of Ctrl-C would be raised inside any package, and some turn it into another. Does nothing on
    other threads, and where Ctrl-C is ignored, as behind `nohup`, or handled.
    """
    main_thread = threading.current_thread() is threading.main_thread()
    if not main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: _leave(command))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _run(command: str, module: str) -> int:
    """Imports the module, which takes a second or more, and gives the exit status of its `main`."""
    try:
        with ended_at_once(command):
            main: Callable[[], int] = import_module(module).main
    except ModuleNotFoundError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return NOTHING_DONE
    try:
        status = main()
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is done is done: the interpreter's end is not interrupted
    except KeyboardInterrupt:  # in the moment before the command looks for it, or behind its end
        _leave(command)
        raise
    return status


def _leave(command: str) -> None:
    with suppress(OSError):
        os.write(2, f"{command}: interrupted\n".encode())
    os._exit(INTERRUPTED)
