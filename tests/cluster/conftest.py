"""A Ray cluster on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

pytest.importorskip("ray", reason="the extra ray is not installed")
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would ask the network

from ray.cluster_utils import Cluster

STORE_BYTES = 80 << 20


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two nodes of one CPU each, the first of which is the head."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": STORE_BYTES})
    nodes.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    yield nodes
    nodes.shutdown()
