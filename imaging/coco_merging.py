"""Puts COCO documents of one image each, as `imaging.coco` makes them, into one document."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from imaging.coco import INFO

HEAD = json.dumps({"info": INFO, "licenses": []}, separators=(",", ":")).encode()[:-1]
"""The first members of every document, without the final brace."""
DOCUMENT = re.compile(re.escape(HEAD) + rb',"images":\[(\{.*?\})\],"categories":\[(.*?)\],"annotations":\[(.*)\]\}', re.DOTALL)
IDS = re.compile(rb'(?<=\{"id":)\d+,"image_id":\d+(?=,)')


@dataclass(frozen=True)
class CocoParts:
    """The parts of one image's document, as JSON.

    image: the image's entry in `images`. categories, annotations: the entries of these lists, with commas between them. number:
    of annotations.
    """

    image: bytes
    categories: bytes
    annotations: bytes
    number: int


def split_document(document: bytes) -> CocoParts:
    """The parts of a document that `SegmentedImage.encode` wrote. Raises `ValueError` for other bytes."""
    parts = DOCUMENT.fullmatch(document)
    if parts is None:
        raise ValueError(f"expected the COCO document of one image, as format=coco answers it, got {document[:60]!r}")
    image, categories, annotations = parts.groups()
    return CocoParts(image, categories, annotations, len(IDS.findall(annotations)))


def renumber(parts: CocoParts, image_id: int, first_annotation: int, changes: Mapping[str, Any] = {}) -> CocoParts:
    """The same parts with this id of the image, and with ids of annotations that count from `first_annotation`.

    changes: of the image's entry: its `file_name`, and facts that it has not.
    """
    numbers = count(first_annotation)
    annotations = IDS.sub(lambda _: b'%d,"image_id":%d' % (next(numbers), image_id), parts.annotations)
    image = json.loads(parts.image) | {"id": image_id} | changes
    return CocoParts(json.dumps(image, separators=(",", ":")).encode(), parts.categories, annotations, parts.number)
