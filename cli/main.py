"""`fcn-segment`: segments files and folders, giving the bytes that the service would."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from tqdm import tqdm

from imaging.answer import FORMATS, Answer, ArrayTooLarge, MaskEncoding, Rendering
from imaging.decoding import FORMATS as IMAGE_FORMATS
from imaging.decoding import Limits, decode, read_size
from imaging.errors import ImageError
from model.device import DTYPES, DeviceError, available_cores
from model.lanes import Lanes
from model.predictor import Predictor
from model.scaling import Side, parse_side
from model.segmentation import Options, plan_image, run_in_batches, segment
from model.tiling import Blend, TilingError, parse_tile
from model.weights_file import DEFAULT_WEIGHTS, WeightsError, find_weights, load_weights

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
STDIO = "-"


@dataclass(frozen=True)
class Work:
    """One image to segment, and where its answer goes; None is stdin or stdout."""

    source: Path | None
    target: Path | None


def parser() -> argparse.ArgumentParser:
    """The command's arguments; those of `/segment` bear their HTTP names."""
    p = argparse.ArgumentParser("fcn-segment", description="Segments images: files, folders (recursively), or - for stdin.")
    p.add_argument("inputs", nargs="+", metavar="IN", help=f"files ({', '.join(IMAGE_FORMATS)}), folders, or - for stdin")
    p.add_argument("-o", "--out", required=True, help="file (for one image), folder, or - for stdout")
    p.add_argument("--format", choices=FORMATS, default="png", help="form of the answer (default: png)")
    p.add_argument("--mask", choices=get_args(MaskEncoding), default="rle", help="with json: how the class map is written")
    p.add_argument("--blend", choices=get_args(Blend), default=Options.blend, help="how overlapping logits are averaged")
    p.add_argument("--overlap", type=float, default=Options.overlap, help="fraction of a tile shared with its neighbour")
    p.add_argument("--side", type=_side, default="auto", help="auto, native, or the longer side to work at, 32 to 16384")
    p.add_argument("--alpha", type=_alpha, default=Rendering.alpha, help="opacity of the colours in an overlay")
    p.add_argument("--tile", type=parse_tile, default=Options.tile, help="tile side or HEIGHTxWIDTH, multiples of 32")
    p.add_argument("--weights", default=DEFAULT_WEIGHTS, help="weights: a file, or a name in weights/")
    p.add_argument("--device", default="auto")
    p.add_argument("--dtype", choices=["auto", *DTYPES], default="auto")
    p.add_argument("--cuda-graphs", action="store_true", help="on CUDA, record the network's kernels for each shape")
    p.add_argument("--threads", type=int, default=0, help="CPU threads of the network (default: one a core)")
    p.add_argument("--max-megapixels", type=float, default=Limits.megapixels)
    return p


def _side(text: str) -> Side:
    try:
        return parse_side(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _alpha(text: str) -> float:
    if 0 <= (alpha := float(text)) <= 1:
        return alpha
    raise argparse.ArgumentTypeError(f"alpha must be 0 to 1, got {text!r}")


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 where an image failed (the others are done); 2 where nothing could start."""
    args = parser().parse_args(argv)
    try:
        works = list(_plan(args))
        _check_targets(works)
        threads = args.threads or available_cores()
        torch.set_num_threads(threads)
        weights = load_weights(find_weights(args.weights))
        lanes = Lanes(Predictor(weights, args.device, args.dtype, graphs=args.cuda_graphs), threads)
        segmenter = Segmenter(lanes, args)
    except (OSError, WeightsError, DeviceError, TilingError) as error:
        print(f"fcn-segment: {error}", file=sys.stderr)
        return 2
    failures = list(filter(None, _run_all(segmenter, works)))
    for failure in failures:
        print(f"fcn-segment: {failure}", file=sys.stderr)
    return 1 if failures else 0


def workers(lanes: Lanes) -> int:
    """Threads that keep every lane busy while images are read, decoded, encoded and written."""
    return max(lanes.count, lanes.threads) + 1


def _run_all(segmenter: Segmenter, works: Sequence[Work]) -> Iterator[str | None]:
    """What went wrong with each image, or None. Several go side by side: while one is decoded, another is inferred."""

    def run(work: Work) -> str | None:
        try:
            _write(work.target, segmenter(_read(work.source)))
        except (ImageError, ArrayTooLarge, TilingError, OSError) as error:
            return f"{work.source or 'stdin'}: {error}"
        return None

    if len(works) == 1:
        yield run(works[0])
        return
    with ThreadPoolExecutor(workers(segmenter.lanes), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            yield from tqdm(pool.map(run, works), total=len(works), unit="image", disable=not sys.stderr.isatty())
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise


class Segmenter:
    """From an image file's bytes to the answer's, as the service's corridor goes; for several threads at once."""

    def __init__(self, lanes: Lanes, args: argparse.Namespace) -> None:
        self.lanes = lanes
        self.predictor = lanes.predictor
        self.options = Options(args.tile, args.overlap, args.blend, args.side)
        self.rendering = Rendering(args.format, args.mask, args.alpha)
        self.limits = Limits(args.max_megapixels)
        if not 0 <= args.overlap <= 0.5:
            raise TilingError(f"overlap must be between 0 and 0.5, got {args.overlap}")

    def __call__(self, data: bytes) -> bytes:
        manifest, limits = self.predictor.manifest, self.limits
        size = read_size(data, limits)
        self.rendering.check(size)
        plan = plan_image(size, self.options, manifest.preprocessing.side)
        image = decode(data, limits, plan.size)
        result = segment(
            image, plan, run_in_batches(self.lanes), num_classes=len(manifest.labels),
            grid=self.predictor.grid, size=size,
            temperature=(manifest.temperature or 1.0) if self.rendering.needs_confidence else None,
        )  # fmt: skip
        photo = None
        if self.rendering.needs_photo:
            photo = image if image.shape[:2] == size else decode(data, limits)
        return Answer(
            photo, result.class_map, result.confidence, result.mean_confidence, manifest.labels.classes,
            manifest.labels.palette, self.predictor.weights.identity, plan.describe(),
        ).encode(self.rendering)  # fmt: skip


def _plan(args: argparse.Namespace) -> Iterator[Work]:
    """What to read and write; folders are mirrored below the output folder."""
    suffix = ".json" if args.format == "json" else ".png"
    single = len(args.inputs) == 1 and (args.inputs[0] == STDIO or Path(args.inputs[0]).is_file())
    if single and (args.out == STDIO or Path(args.out).suffix == suffix):
        yield Work(_path(args.inputs[0]), _path(args.out))
        return
    if args.out == STDIO:
        raise OSError("-o - takes one image; give a folder for several")
    out = Path(args.out)
    for name in args.inputs:
        if name == STDIO:
            yield Work(None, out / f"stdin{suffix}")
        elif (path := Path(name)).is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix.lower() in ENDINGS)
            if not files:
                raise OSError(f"no images in {name!r}; their names end in {', '.join(sorted(ENDINGS))}")
            for file in files:
                yield Work(file, (out / file.relative_to(path)).with_suffix(suffix))
        elif path.is_file():
            yield Work(path, out / f"{path.stem}{suffix}")
        else:
            raise OSError(f"no file or folder {name!r}")


def _check_targets(works: Sequence[Work]) -> None:
    """Raises `OSError` where an answer would overwrite another, or an image."""
    sources = {work.source.resolve() for work in works if work.source}
    targets: dict[Path, Work] = {}
    for work in works:
        if work.target is None:
            continue
        target = work.target.resolve()
        if target in sources:
            raise OSError(f"{work.target} would overwrite an image; give another -o")
        if (other := targets.setdefault(target, work)) is not work:
            raise OSError(f"{other.source or 'stdin'} and {work.source or 'stdin'} would both become {work.target}")


def _path(name: str) -> Path | None:
    return None if name == STDIO else Path(name)


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
