"""The threads that requests run on, and their places among the cores."""

from __future__ import annotations

import os
import threading

import pytest
import torch
from fastapi.testclient import TestClient

from app.pools import Pools
from app.service import Service
from model.cores import CHOOSES
from tests.app.asking import post
from tests.conftest import encoded, make_photo


def test_large_images_have_threads_of_their_own_and_those_of_many_tiles_others(service: Service) -> None:
    pools = service.pools
    assert (pools.of(4.0, 30), pools.of(4.1, 1), pools.of(4.1, 17)) == (pools.small, pools.large, pools.huge)
    assert (pools.of(4.0, 1, lone=True), pools.of(4.1, 1, lone=True)) == (pools.lone, pools.large)


@pytest.mark.parametrize("pool", ["large", "huge"])
def test_a_small_image_is_answered_while_all_threads_of_large_ones_are_busy(
    client: TestClient, service: Service, pool: str
) -> None:
    go = threading.Event()
    held = [getattr(service.pools, pool).submit(go.wait, 30) for _ in range(8)]
    try:
        assert post(client).status_code == 200
        if pool == "huge":
            assert post(client, encoded(make_photo(2001, 2000), "JPEG"), side=96).status_code == 200
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
    assert service.pools.huge.submit(torch.get_num_threads).result(30) == 1


@pytest.mark.skipif(not CHOOSES, reason="threads do not choose their cores on this system")
def test_threads_for_an_image_of_one_tile_keep_to_a_core_each() -> None:
    every = os.sched_getaffinity(0)
    pools = Pools(len(every))
    try:
        assert pools.lone.submit(os.sched_getaffinity, 0).result(30) == {min(every)}
        for others in (pools.small, pools.large, pools.huge):
            assert others.submit(os.sched_getaffinity, 0).result(30) == every
    finally:
        pools.shutdown()


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="this system has no such policy")
def test_a_request_s_thread_pushes_no_lane_off_its_core_when_it_wakes(service: Service) -> None:
    for pool in (service.pools.lone, service.pools.small, service.pools.large, service.pools.huge):
        assert pool.submit(os.sched_getscheduler, 0).result(30) == os.SCHED_BATCH
    lanes = [thread for thread in threading.enumerate() if thread.name.startswith("lane-")]
    assert lanes
    assert all(os.sched_getscheduler(lane.native_id or 0) == os.SCHED_OTHER for lane in lanes)
