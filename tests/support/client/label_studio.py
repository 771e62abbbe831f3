"""A labelling configuration, a decoder of brush labels, and a backend that answers in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from fcn_client.label_studio.app import Settings, create_app
from starlette.testclient import TestClient

from common.arrays import Mask
from tests.support.polling import HANG_S

CHANNELS = 4


def configuration(tag: str, labels: str = '<Label value="Cat"/><Label value="dog" alias="hound"/><Label value="Tree"/>') -> str:
    """That of a project whose tasks have an image in the field `photo`."""
    return f'<View><Image name="img" value="$photo"/><{tag} name="tag" toName="img">{labels}</{tag}></View>'


@contextmanager
def backend(service: str, **settings: Any) -> Iterator[TestClient]:
    """Its service has as long as a loaded machine needs, where Label Studio waits 3 s."""
    with TestClient(create_app(Settings(service, setup_timeout=HANG_S, **settings))) as client:
        yield client


def decode_brush(rle: list[int], size: tuple[int, int]) -> Mask:
    """The mask of a brush label, bool (H, W), read bit by bit; all four channels must be equal, and the bits used up."""
    bits = "".join(f"{byte:08b}" for byte in rle)
    place = 0

    def read(count: int) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    number, value_bits = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < number:
        is_run, length = read(1), read(sizes[read(2)]) + 1
        values += [read(value_bits)] * length if is_run else [read(value_bits) for _ in range(length)]
    assert len(values) == number == size[0] * size[1] * CHANNELS
    assert len(bits) - place < 8
    pixels = np.array(values, np.uint8).reshape(*size, CHANNELS)
    assert set(np.unique(pixels)) <= {0, 255}
    assert (pixels == pixels[..., :1]).all()
    mask: Mask = pixels[..., 0] == 255
    return mask
