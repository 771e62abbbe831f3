"""Many images: their order, how many are at work, and what is left when the caller leaves."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncGenerator, Generator
from typing import Any, cast

import numpy as np
import pytest
from fcn_client import SegmentClient, SegmentError
from fcn_client.many import in_order, in_order_async

from tests.support.client.scripted_service import Kind, both, client_of
from tests.support.polling import HANG_S

Result = Any


def test_a_slow_image_holds_up_nobody_and_keeps_its_place() -> None:
    third = threading.Event()

    def ask(item: int) -> Result:
        if item == 0:
            assert third.wait(HANG_S)
        if item == 3:
            third.set()
        return -item

    results: list[Any] = list(in_order(range(6), ask, 2))
    assert results == [(i, -i) for i in range(6)]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_than_these_are_at_work(concurrency: int) -> None:
    working, most = 0, 0

    async def ask(item: int) -> Result:
        nonlocal working, most
        working += 1
        most = max(most, working)
        await asyncio.sleep(0)
        working -= 1
        if item == 4:
            raise SegmentError("bad")
        return item

    async def collect() -> list[Any]:
        return [result async for _, result in in_order_async(range(9), ask, concurrency)]

    results = asyncio.run(collect())
    assert most == concurrency
    assert isinstance(results.pop(4), SegmentError)
    assert results == [0, 1, 2, 3, 5, 6, 7, 8]


def test_images_are_taken_as_they_are_needed() -> None:
    indices: list[int] = []

    def images() -> Generator[int]:
        for i in range(100):
            indices.append(i)
            yield i

    results = cast(Generator[Any], in_order(images(), lambda item: cast(Result, item), 2))
    assert next(results) == (0, 0)
    assert len(indices) == 4
    results.close()
    assert len(indices) == 4


def test_who_leaves_early_leaves_nothing_behind() -> None:
    starts: list[int] = []
    ends: list[int] = []

    async def ask(item: int) -> Result:
        starts.append(item)
        try:
            await asyncio.sleep(0 if item == 0 else 3600)
        finally:
            ends.append(item)
        return item

    async def leave() -> None:
        results = cast(AsyncGenerator[Any], in_order_async(range(100), ask, 2))
        assert await anext(results) == (0, 0)
        await results.aclose()
        assert starts == ends
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(leave())


def test_what_is_no_fault_of_one_image_ends_it() -> None:
    client = SegmentClient("http://service")
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        list(client.segment_many([b"image"]))


@pytest.mark.parametrize("concurrency", [0, -1])
def test_a_concurrency_of_none_is_refused(concurrency: int) -> None:
    with SegmentClient("http://service") as client, pytest.raises(ValueError, match="concurrency must be at least 1"):
        client.segment_many([], concurrency=concurrency)


@pytest.mark.parametrize("image", ["a.jpg", b"bytes", io.BytesIO(b"line"), np.zeros((4, 4, 3), np.uint8)], ids=type)
@both
def test_one_image_is_not_taken_for_several(kind: Kind, image: Any) -> None:
    """A text would be walked letter by letter, and a file named `a` segmented."""
    with client_of(kind) as client:
        with pytest.raises(TypeError, match="put it into a list"):
            client.segment_many(image)
        if not isinstance(image, str):  # a job may have one file
            with pytest.raises(TypeError, match="put it into a list"):
                client.submit(image, output="zip")
