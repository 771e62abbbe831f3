"""Puts COCO documents of one image each, as `imaging.coco` makes them, into one document."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count

DOCUMENT = re.compile(rb'\{"images":\[(\{.*?\})\],"categories":\[(.*?)\],"annotations":\[(.*)\]\}', re.DOTALL)
IDS = re.compile(rb'(?<=\{"id":)\d+,"image_id":\d+(?=,)')
IMAGE_ID = re.compile(rb'^\{"id":\d+')


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


def renumber(parts: CocoParts, image_id: int, first_annotation: int) -> CocoParts:
    """The same parts with this id of the image, and with ids of annotations that count from `first_annotation`."""
    numbers = count(first_annotation)
    annotations = IDS.sub(lambda _: b'%d,"image_id":%d' % (next(numbers), image_id), parts.annotations)
    return CocoParts(IMAGE_ID.sub(b'{"id":%d' % image_id, parts.image), parts.categories, annotations, parts.number)
