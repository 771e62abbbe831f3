"""`format=hf`, asked by Hugging Face's own client over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from huggingface_hub import ImageSegmentationOutputElement, InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image

from tests.support.app.exchanges import PHOTO, pixels
from tests.support.polling import HANG_S


def segment(url: str, photo: Any = PHOTO, **parameters: Any) -> list[ImageSegmentationOutputElement]:
    client = InferenceClient(token="a-key-of-some-length", timeout=HANG_S)
    return client.image_segmentation(photo, model=f"{url}/segment?format=hf", **parameters)


def answer(url: str, **query: Any) -> httpx.Response:
    return httpx.post(f"{url}/segment", content=PHOTO, params=query, timeout=HANG_S)


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


def test_the_client_gets_a_mask_for_each_class_and_parameters_of_the_task_count(narrow_url: str, tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(PHOTO)
    assert_masks(segment(narrow_url, file, subtask="semantic"), narrow_url)
    assert_masks(segment(narrow_url, mask_threshold=0.3), narrow_url, min_confidence=0.3)
    whole = segment(narrow_url)
    scores = sorted(element.score or 0 for element in whole)
    threshold = (scores[0] + scores[-1]) / 2
    assert scores[0] < threshold < scores[-1]
    elements = segment(narrow_url, threshold=threshold)
    assert [element.label for element in elements] == [each.label for each in whole if (each.score or 0) >= threshold]


def test_parameters_without_a_meaning_are_refused(narrow_url: str) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"subtask": "panoptic"}, "parameters subtask: must be semantic, got 'panoptic'"),
        ({"overlap_mask_area_threshold": 0.5}, "overlap_mask_area_threshold: masks of different classes never overlap"),
    ]
    for parameters, words in wrong:
        with pytest.raises(HfHubHTTPError) as error_info:
            segment(narrow_url, **parameters)
        assert error_info.value.response is not None
        assert error_info.value.response.status_code == 422
        assert words in error_info.value.response.json()["detail"]
    refusal = answer(narrow_url, format="hf", mask_threshold=0.3, min_confidence=0.3)
    assert (refusal.status_code, "mean the same" in refusal.json()["detail"]) == (422, True)
