"""`format=hf`, asked by Hugging Face's own client over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from huggingface_hub import ImageSegmentationOutputElement, InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image

from benchmarks.harness.serving import service
from tests.support.app.exchanges import PHOTO, pixels
from tests.support.polling import HANG_S

KEY = "a-key-of-some-length"


@pytest.fixture(scope="module")
def url(narrow_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that asks for a key."""
    log = tmp_path_factory.mktemp("hugging-face") / "log"
    with service(log=log, weights=narrow_file, device="cpu", threads=1, api_keys=KEY) as server:
        yield server.url


def segment(url: str, photo: Any = PHOTO, *, token: str = KEY, **parameters: Any) -> list[ImageSegmentationOutputElement]:
    client = InferenceClient(token=token, timeout=HANG_S)
    return client.image_segmentation(photo, model=f"{url}/segment?format=hf", **parameters)


def answer(url: str, **query: Any) -> httpx.Response:
    response = httpx.post(f"{url}/segment", content=PHOTO, params=query, headers={"X-API-Key": KEY}, timeout=HANG_S)
    return response.raise_for_status()


def assert_masks(elements: list[ImageSegmentationOutputElement], url: str, **query: Any) -> None:
    """The elements have the classes, scores and pixels of `format=json` and of the mask."""
    class_map = pixels(answer(url, **query).content)
    present = [entry for entry in answer(url, format="json", **query).json()["classes"] if entry["name"] != "void"]
    assert present
    assert [(element.label, element.score) for element in elements] == [
        (entry["name"], entry["mean_confidence"]) for entry in present
    ]
    for element, entry in zip(elements, present, strict=True):
        mask: Any = element.mask  # the client makes it a picture
        assert isinstance(mask, Image.Image)
        assert mask.mode == "L"
        np.testing.assert_array_equal(np.asarray(mask), np.where(class_map == entry["id"], 255, 0))


def test_the_client_gets_a_mask_for_each_class(url: str, tmp_path: Path) -> None:
    assert_masks(segment(url), url)
    file = tmp_path / "photo.png"
    file.write_bytes(PHOTO)
    assert_masks(segment(url, file), url)


def test_parameters_of_the_task_count(url: str) -> None:
    assert_masks(segment(url, subtask="semantic"), url)
    assert_masks(segment(url, mask_threshold=0.3), url, min_confidence=0.3)
    whole = segment(url)
    scores = sorted(element.score or 0 for element in whole)
    threshold = (scores[0] + scores[-1]) / 2
    assert scores[0] < threshold < scores[-1]
    elements = segment(url, threshold=threshold)
    assert [element.label for element in elements] == [each.label for each in whole if (each.score or 0) >= threshold]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"subtask": "panoptic"}, "parameters subtask: must be semantic, got 'panoptic'"),
        ({"overlap_mask_area_threshold": 0.5}, "overlap_mask_area_threshold: masks of different classes never overlap"),
        ({"threshold": 2}, "parameters threshold: must be a number from 0 to 1, got 2"),
    ],
    ids=str,
)
def test_parameters_without_a_meaning_are_refused(url: str, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(HfHubHTTPError) as error_info:
        segment(url, **parameters)
    assert error_info.value.response is not None
    assert error_info.value.response.status_code == 422
    assert words in error_info.value.response.json()["detail"]


def test_a_wrong_key_is_refused(url: str) -> None:
    with pytest.raises(HfHubHTTPError, match="401"):
        segment(url, token="another-key")


def test_mask_threshold_and_min_confidence_are_one(url: str) -> None:
    query = {"format": "hf", "mask_threshold": 0.3, "min_confidence": 0.3}
    refusal = httpx.post(f"{url}/segment", content=PHOTO, params=query, headers={"X-API-Key": KEY}, timeout=HANG_S)
    assert (refusal.status_code, refusal.json()["title"]) == (422, "Wrong parameter")
    assert "mean the same" in refusal.json()["detail"]
