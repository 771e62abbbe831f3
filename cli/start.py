"""Entry points of the commands.

They import no module of the project at the top, so that Ctrl-C prints one line from the first moment on.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module

INTERRUPTED, NOTHING_DONE = 130, 2


@contextmanager
def ended_at_once(command: str) -> Iterator[None]:
    """In this context, Ctrl-C ends the process at once with one line on stderr and status 130.

    It is meant for imports. `KeyboardInterrupt` could be raised inside any package, and some packages turn it into another
    exception. Does nothing on threads other than the main one, or if Ctrl-C is ignored (as with `nohup`) or handled.
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


def _run(command: str, module: str, arguments: str = "") -> int:
    """Imports the module, which takes a second or more; runs its `main` and returns the exit status.

    arguments: the module with the command's `parser`, if the command needs the extra `train` and this module does not.
    """
    try:
        with ended_at_once(command):
            main: Callable[[], int] = import_module(module).main
    except ModuleNotFoundError as error:
        print(f"{command}: {_without_extra(error, arguments) if arguments else error}", file=sys.stderr)
        return NOTHING_DONE
    try:
        status = main()
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            # the command is done; Ctrl-C must not interrupt the interpreter's shutdown
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:  # before `main` catches it, or after `main` has returned
        _leave(command)
        raise
    return status


def _without_extra(error: ModuleNotFoundError, arguments: str) -> str:
    """Reads the arguments, so that `--help` and `--version` work and end the process; then says what is missing."""
    try:
        import_module(arguments).parser().parse_args()
        install_command: Callable[[str], str] = import_module("common.command_line").install_command
    except ModuleNotFoundError as other:  # a package that every installation has
        return str(other)
    return f"{error.name} is missing: {install_command('train')}"


def _leave(command: str) -> None:
    with suppress(OSError):
        os.write(2, f"{command}: interrupted\n".encode())
    os._exit(INTERRUPTED)


segment = partial(_run, "fcn-segment", "cli.main")
serve = partial(_run, "fcn-serve", "app.main")
bulk = partial(_run, "fcn-bulk", "cluster.bulk")
check = partial(_run, "fcn-check", "training.commands.check")
import_labels = partial(_run, "fcn-import", "training.commands.import_labels")
train = partial(_run, "fcn-train", "training.commands.train", "training.commands.train_arguments")
evaluate = partial(_run, "fcn-evaluate", "training.commands.evaluate", "training.commands.evaluate_arguments")
convert = partial(_run, "fcn-convert", "training.commands.convert")
export = partial(_run, "fcn-export", "training.commands.export")
