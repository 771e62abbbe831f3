"""What the training commands share: exit statuses, one-line errors, and arguments on splits, classes and masks."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO, get_args

from common.command_line import ArgumentGroup, flag, install_command
from common.printable import printable
from training.data.masks import DrawnOn, Meaning

FAILED, INTERRUPTED, PIPE_CLOSED = 2, 130, 141
"""Exit statuses after an error, after Ctrl-C, and after the reader of stdout has closed the pipe (128 + SIGPIPE)."""
EXTRAS = {"rasterio": "geo", "pyogrio": "geo"}
"""The extra of a package that a command lacks, if that is not `train`."""
LONGEST_LINE = 10_000  # letters
# words in the type or message of torch's errors; comparing words spares the import of torch
NO_MEMORY = ("OutOfMemoryError", "DefaultCPUAllocator")


def run_command(name: str, work: Callable[[], None], stop_message: Callable[[], str] = lambda: "stopped") -> int:
    """Does the work and gives the exit status; prints errors on stderr in one line.

    It expects errors of files and arguments (`ValueError`, `OSError`), of missing packages, and of memory. Any other error is a
    bug in this program and is raised. stop_message: gives the message after Ctrl-C.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # files and classes may have any name, also in letters that stdout lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"\n{name}: {stop_message()}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # redirected to the null device: otherwise the interpreter would report a failed flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except (ValueError, OSError) as error:
        print_lines(f"{name}: {error}".split("\n"), sys.stderr)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(str(error.name), "train")
        print(f"{name}: {error.name} is missing: {install_command(extra)}", file=sys.stderr)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        print(f"{name}: memory ran out; smaller crops, a smaller batch or --set accumulate=N take less", file=sys.stderr)
    else:
        return 0
    return FAILED


def print_lines(lines: Iterable[str], file: TextIO | None = None) -> None:
    """Prints lines as `printable` shows them, on stdout by default, each cut to `LONGEST_LINE`.

    Names, and what errors quote of a file, may hold line ends, a terminal's codes, and megabytes.
    """
    print("\n".join(printable(line, LONGEST_LINE) for line in lines), file=file)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(word in f"{type(error).__name__} {error}" for word in NO_MEMORY)


def add_option(group: ArgumentGroup, flag: str, default: Any, text: str, **options: Any) -> None:
    """Adds an option with a value. default: its default, whose type is the value's, or a type for an option without one."""
    kind, value = (default, None) if isinstance(default, type) else (type(default), default)
    group.add_argument(flag, type=Path if issubclass(kind, Path) else kind, default=value, help=text, **options)


def options_present(args: argparse.Namespace, names: Iterable[str]) -> str:
    """Those of these options that the user gives, as a message names them."""
    return " and ".join(flag(name) for name in names if str(getattr(args, name)) not in ("None", "", "False"))


def check_companions(args: argparse.Namespace, companions: Mapping[str, str]) -> None:
    """Raises `ValueError` for an option without its companion, the option that it needs to have an effect."""
    for name, companion in companions.items():
        if getattr(args, name) not in (None, False, []) and not getattr(args, companion):
            raise ValueError(f"{flag(name)} has no effect without {flag(companion)}: give both, or leave it out")


def add_label_options(group: ArgumentGroup) -> None:
    """Adds `--labels`, `--class-map`, `--masks` and `--masks-orientation`."""
    labels = "classes of the masks: voc, camvid, or a file (default: the file in the data's folder, or its layout)"
    add_option(group, "--labels", str, labels)
    fewer = "fewer classes, also of a network to score: 0=0,8=1,*=0 or leaf=plant,*=ground (*: all other classes)"
    add_option(group, "--class-map", str, fewer)
    masks = (
        "what masks hold. ids: class ids as the pixel values of grey and palette images, or class colours in RGB images; "
        "colors: class colours, whatever the kind of image (default: ids)"
    )
    add_option(group, "--masks", "ids", masks, choices=get_args(Meaning))
    drawn_on = "whether masks were drawn on the photo as EXIF turns it (upright) or as its file stores it (default: upright)"
    add_option(group, "--masks-orientation", "upright", drawn_on, choices=get_args(DrawnOn))


def add_split_options(group: ArgumentGroup) -> None:
    """Adds the options of `add_label_options`, `--train-split` and `--val-split`."""
    add_label_options(group)
    add_option(group, "--train-split", "train", "split to learn from (default: train)")
    add_option(group, "--val-split", "val", "split to score on (default: val)")
