"""The command's own network: how it shares the cores among tiles and images."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from cli.arguments import parser
from cli.local import Segmenter, load_segmenter
from tests.conftest import encoded, make_photo

PHOTO = encoded(make_photo(128, 128))


def loaded(file: Path, threads: int, *arguments: str) -> Segmenter:
    options = ["--weights", str(file), "--device", "cpu", "--dtype", "float32", "--threads", str(threads)]
    return load_segmenter(parser().parse_args(["-", "-o", "-", *options, *arguments]))


def calls_of(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, meet: int) -> list[int]:
    """How many tiles each call of the network takes, from now on; each waits for so many to be there at once."""
    calls: list[int] = []
    met, logits = threading.Barrier(meet, timeout=30), segmenter.lanes.logits

    def together(tiles: list[Any], **options: Any) -> Any:
        calls.append(len(tiles))
        met.wait()
        return logits(tiles, **options)

    monkeypatch.setattr(segmenter.lanes, "logits", together)
    return calls


def test_an_image_of_many_tiles_runs_them_side_by_side(narrow_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiled = "--tile", "64", "--overlap", "0", "--side", "native"
    expected = loaded(narrow_file, 1, *tiled)(PHOTO)
    segmenter = loaded(narrow_file, 2, *tiled)
    calls = calls_of(segmenter, monkeypatch, meet=2)
    assert segmenter(PHOTO) == expected
    assert calls == [1] * 4


def test_an_image_of_few_tiles_runs_them_on_all_threads(narrow_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = loaded(narrow_file, 2, "--tile", "64x128", "--overlap", "0", "--side", "native")
    calls = calls_of(segmenter, monkeypatch, meet=1)
    segmenter(PHOTO)
    assert calls == [2]


@pytest.mark.parametrize(("others", "threads"), [(0, 4), (1, 2), (3, 1), (4, 1)])
def test_a_tile_takes_the_cores_on_which_no_other_image_is_worked_on(
    narrow_file: Path, monkeypatch: pytest.MonkeyPatch, others: int, threads: int
) -> None:
    segmenter, taken = loaded(narrow_file, 4), []
    logits = segmenter.predictor.logits

    def counted(tiles: list[Any]) -> Any:
        taken.append(torch.get_num_threads())
        return logits(tiles)

    monkeypatch.setattr(segmenter.predictor, "logits", counted)
    for _ in range(others):
        segmenter.lanes.slots.take()
    segmenter(PHOTO)
    assert taken == [threads]
    assert segmenter.lanes.slots.held == others
