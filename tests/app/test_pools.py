"""The threads that requests run on, and their places among the cores."""

from __future__ import annotations

import os
import threading

import pytest
import torch
from fastapi.testclient import TestClient

from app.pools import Pools
from app.service import Service
from tests.app.asking import post


def test_large_images_have_threads_of_their_own(client: TestClient, service: Service) -> None:
    """So many wait for their turn that no other thread of theirs is free, and a small one is answered."""
    pools = service.pools
    assert (pools.of(4.0), pools.of(4.1)) == (pools.small, pools.large)
    assert (pools.of(4.0, lone=True), pools.of(4.1, lone=True)) == (pools.lone, pools.large)
    go = threading.Event()
    held = [pools.large.submit(go.wait, 30) for _ in range(8)]
    try:
        assert post(client).status_code == 200
    finally:
        go.set()
    assert all(future.result(30) for future in held)


def test_a_slot_is_left_while_its_thread_waits_and_large_images_take_none() -> None:
    pools = Pools(2)
    seen: list[int] = []

    try:
        with pools.slot(1.0, 0.0) as slot:
            assert pools.slots.held == 1
            assert slot.held
            with slot.left():
                seen.append(pools.slots.held)
            with pools.slot(100.0, 0.0) as large:
                assert not large.held
            with pools.slot(1.0, 0.0), pools.slot(100.0, 0.0):
                assert (pools.slots.held, pools.slots.beside) == (2, 1)
        assert seen == [0]
        assert (pools.slots.held, pools.slots.beside) == (0, 0)
    finally:
        pools.shutdown()


def test_a_request_s_own_tensors_take_one_thread(service: Service) -> None:
    assert service.pools.small.submit(torch.get_num_threads).result(30) == 1
    assert service.pools.large.submit(torch.get_num_threads).result(30) == 1


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="this system has no such policy")
def test_a_request_s_thread_pushes_no_lane_off_its_core_when_it_wakes(service: Service) -> None:
    for pool in (service.pools.lone, service.pools.small, service.pools.large):
        assert pool.submit(os.sched_getscheduler, 0).result(30) == os.SCHED_BATCH
    lanes = [thread for thread in threading.enumerate() if thread.name.startswith("lane-")]
    assert lanes
    assert all(os.sched_getscheduler(lane.native_id or 0) == os.SCHED_OTHER for lane in lanes)
