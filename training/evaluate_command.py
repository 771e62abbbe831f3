"""`fcn-evaluate`: scores a weights file on a labelled split, along the served path."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from model.predictor import Predictor
from model.segmentation import Options
from model.tiling import parse_tile
from model.weights_file import DEFAULT_WEIGHTS, find_weights, load_weights
from training.card import machine
from training.class_mapping import parse_class_mapping
from training.datasets import get_dataset, read_labels
from training.evaluate import evaluate, table


def parser() -> argparse.ArgumentParser:
    """The command's arguments; tiling defaults are the service's."""
    p = argparse.ArgumentParser("fcn-evaluate", description="Scores of the served path on a labelled split.")
    p.add_argument("--data", type=Path, required=True, help="VOCdevkit or CamVid folder")
    p.add_argument("--split", default="val")
    p.add_argument("--labels", default="voc", help="label set of the masks: voc, camvid, or a JSON file (default: voc)")
    p.add_argument("--class-map", help="fewer classes, for labels and predictions alike: 0=0,8=1,*=0")
    p.add_argument("--weights", default=DEFAULT_WEIGHTS)
    p.add_argument("--side", default="auto", help="auto, native or a number (default: auto)")
    p.add_argument("--tile", type=parse_tile, default=Options.tile)
    p.add_argument("--overlap", type=float, default=Options.overlap)
    p.add_argument("--blend", choices=("mean", "hann"), default=Options.blend)
    p.add_argument("--device", default="auto")
    p.add_argument("--dtype", default="auto")
    p.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's choice)")
    p.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        return _evaluate(args)
    except (ValueError, OSError) as error:
        print(f"fcn-evaluate: {error}", file=sys.stderr)
        return 2


def _evaluate(args: argparse.Namespace) -> int:
    labels = read_labels(args.labels)
    mapping = parse_class_mapping(args.class_map, labels) if args.class_map else None
    split = get_dataset(args.data, args.split, labels, mapping)
    predictor = Predictor(load_weights(find_weights(args.weights)), args.device, args.dtype)
    side = args.side if args.side in ("auto", "native") else int(args.side)
    options = Options(args.tile, args.overlap, args.blend, side)
    matrix = evaluate(predictor, split, options, mapping)
    conditions = {
        "weights": predictor.weights.name,
        "sha256": predictor.weights.sha256,
        "frames": len(split.frames),
        "list_sha256": split.digest,
        "side": args.side,
        "tile": list(args.tile),
        "overlap": args.overlap,
        "blend": args.blend,
        "device": str(predictor.device),
        "dtype": predictor.dtype_name,
        "machine": machine(),
        "torch": torch.__version__,
    }
    if args.json:
        print(json.dumps({"conditions": conditions, "scores": matrix.scores(), "classes": split.labels.names}))
    else:
        print(table(matrix, split.labels.names))
        print(", ".join(f"{name} {value}" for name, value in conditions.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
