"""`fcn-segment`: segments files and folders, giving the bytes that the service would."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from cli.arguments import options, parser, rendering
from cli.files import STDIO, Item, plan_items
from cli.local import Local
from cli.remote import Remote
from imaging.answer import ArrayTooLarge
from imaging.decoding import Limits
from imaging.errors import ImageError
from model.inference.runtime import DeviceLost, DeviceOutOfMemory, RuntimeUnavailable, load_runtime, unused_gpu
from model.inference.segmenter import Segmenter
from model.inference.tiling import TilingError
from model.manifest import WeightsError
from model.weights_file import find_files

FAILURES = (ImageError, ArrayTooLarge, TilingError, DeviceOutOfMemory, DeviceLost, OSError)


class Segmenting(Protocol):
    """What makes answers of image files' bytes, on so many threads at once."""

    @property
    def workers(self) -> int: ...

    def __call__(self, data: bytes, name: str) -> bytes: ...


@dataclass(frozen=True)
class Outcome:
    """What became of an image: `done`, `skipped` or `failed`."""

    item: Item
    status: str
    seconds: float = 0.0
    error: str | None = None

    def line(self) -> str:
        """As JSON."""
        facts = {"source": self.item.name, "target": str(self.item.target or STDIO), "status": self.status}
        facts |= {"error": self.error} if self.error else {}
        return json.dumps(facts | {"seconds": round(self.seconds, 3)})


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 where an image failed (the others are done); 2 where nothing could start."""
    args = parser().parse_args(argv)
    try:
        if args.json and args.out == STDIO:
            raise OSError("--json and -o - would both write to stdout; give a file or a folder")
        items = plan_items(args.inputs, args.out, rendering(args).suffix)
        there = [item for item in items if args.resume and item.done]
        left = [item for item in items if not (args.resume and item.done)]
        segmenting = _segmenting(args) if left else nullcontext(None)
    except (OSError, WeightsError, RuntimeUnavailable, TilingError) as error:
        print(f"fcn-segment: {error}", file=sys.stderr)
        return 2
    outcomes = []
    with segmenting as segment:
        for outcome in chain(run_all(segment, left) if segment else (), (Outcome(item, "skipped") for item in there)):
            if args.json:
                print(outcome.line(), flush=True)
            outcomes.append(outcome)
    return _tell(outcomes)


def _segmenting(args: argparse.Namespace) -> AbstractContextManager[Segmenting]:
    if args.server:
        return closing(Remote(args))
    if args.device == "auto" and (warning := unused_gpu()):
        print(f"fcn-segment: {warning}", file=sys.stderr)
    runtime = load_runtime(find_files(args.weights), args.runtime, args.device, args.precision, args.threads)
    return nullcontext(Local(Segmenter(runtime, Limits(args.max_megapixels)), options(args), args.threads))


def run_all(segmenting: Segmenting, items: Sequence[Item]) -> Generator[Outcome]:
    """What became of each image. Several go side by side: while one is decoded, another is inferred."""

    def run(item: Item) -> Outcome:
        started = time.perf_counter()
        try:
            _write(item.target, segmenting(_read(item.source), item.source.name if item.source else "stdin"))
        except FAILURES as error:
            return Outcome(item, "failed", time.perf_counter() - started, str(error))
        return Outcome(item, "done", time.perf_counter() - started)

    if len(items) == 1:
        yield run(items[0])
        return
    with ThreadPoolExecutor(segmenting.workers) as pool:
        try:
            yield from tqdm(pool.map(run, items), total=len(items), unit="image", disable=not sys.stderr.isatty())
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise


def _tell(outcomes: Sequence[Outcome]) -> int:
    """Says what was left out and what failed, and gives the exit status."""
    skipped, failed = ([each for each in outcomes if each.status == status] for status in ("skipped", "failed"))
    if skipped:
        print(f"fcn-segment: {len(skipped)} left out, their answers are there", file=sys.stderr)
    for outcome in failed:
        print(f"fcn-segment: {outcome.item.name}: {outcome.error}", file=sys.stderr)
    if len(failed) > 1:
        print(f"fcn-segment: {len(failed)} of {len(outcomes)} failed", file=sys.stderr)
    return 1 if failed else 0


def _read(source: Path | None) -> bytes:
    return sys.stdin.buffer.read() if source is None else source.read_bytes()


def _write(target: Path | None, data: bytes) -> None:
    if target is None:
        sys.stdout.buffer.write(data)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    partial.write_bytes(data)
    partial.replace(target)


if __name__ == "__main__":
    sys.exit(main())
