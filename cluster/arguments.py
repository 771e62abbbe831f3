"""The arguments of `fcn-bulk`: those of `fcn-segment` that suit a cluster, and the size of the actor pool."""

from __future__ import annotations

import argparse
from math import inf

from cli.arguments import add_answer, add_inputs, add_network, add_scene, number, whole_number
from model.command_line import CommandParser

DEADLINE_S = 600.0
MOST_ACTORS = 100_000


def parser() -> argparse.ArgumentParser:
    """Builds the parser of the command's arguments."""
    p = CommandParser(
        "fcn-bulk", usage="fcn-bulk IN... -o OUT [options]",
        description="Segments images on a Ray cluster and writes the same answers as fcn-segment.",
    )  # fmt: skip
    add_inputs(p, stdio=False)
    add_answer(p)
    add_scene(p)
    add_network(p)
    pool = p.add_argument_group("on the cluster")
    pool.add_argument("--address", default="auto", help="address of the cluster; auto: RAY_ADDRESS, or the one on this machine")
    pool.add_argument("--min-actors", type=whole_number(1, MOST_ACTORS), default=1, help="fewest actors (default: 1)")
    pool.add_argument(
        "--max-actors", type=whole_number(1, MOST_ACTORS), help="most actors (default: as many as the cluster's CPUs allow)"
    )
    pool.add_argument("--cpus", type=whole_number(1, 1024), default=1, help="CPUs of an actor (default: 1)")
    pool.add_argument(
        "--gpus", type=number(0, 64), default=0.0, help="GPUs of an actor; with a fraction, actors share a GPU (default: 0)"
    )
    pool.add_argument(
        "--deadline", type=number(0, inf, above=True), default=DEADLINE_S, metavar="SECONDS",
        help="seconds after which an image counts as failed (default: %(default)g)",
    )  # fmt: skip
    return p
