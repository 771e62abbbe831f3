"""Mappings to fewer classes: their syntax, their tables, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from model.labels import camvid_labels, voc_labels
from tests.support.training.data_sets import FOUR
from training.data.class_mapping import identity_mapping, parse_class_mapping


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("1=0,2=1", [255, 0, 1, 255, 255, 255]),  # ids that are not named become void
        ("* = 0, 1 = 1", [0, 1, 0, 0, 255, 255]),
        ("1=1,*=0", [0, 1, 0, 0, 255, 255]),  # a name beats the wildcard wherever it stands
        ("background=ground,circle=round thing,3=edgy,square=edgy", [0, 1, 2, 2, 255, 255]),
    ],
)
def test_a_mapping_gives_each_id_its_target(text: str, ids: list[int]) -> None:
    assert parse_class_mapping(text, FOUR)(np.arange(6, dtype=np.uint8)).tolist() == ids


def test_targets_are_named_and_colored_after_their_lowest_named_source() -> None:
    mapping = parse_class_mapping("15=1,12=2,8=2,*=0,3=0", voc_labels())
    assert [(entry.id, entry.name) for entry in mapping.labels.classes] == [(0, "bird"), (1, "person"), (2, "cat")]
    assert [entry.color for entry in mapping.labels.classes] == [voc_labels().classes[i].color for i in (3, 15, 8)]
    assert parse_class_mapping("0=1,*=0", FOUR).labels.names == ["circle", "background"]
    named = parse_class_mapping("background=ground,circle=round thing,3=edgy,square=edgy", FOUR).labels
    assert named.names == ["ground", "round thing", "edgy"]
    assert [entry.color for entry in named.classes] == [FOUR.classes[index].color for index in (0, 1, 2)]


def test_void_stays_void_under_a_wildcard() -> None:
    mapping = parse_class_mapping("*=0", camvid_labels())
    assert mapping(np.array([0, 10, 11, 12, 255], np.uint8)).tolist() == [0, 0, 11, 11, 11]
    assert mapping.labels.ignore_index == 11


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, "is written 0=0,8=1,*=0") for text in ("", "0", "0:1", "0=0,", "=0", "0=*", "0=-1", "**=0", "0==0")),
        ("0=0,1=1,1=0", "names each source once, got 1 again"),
        ("*=0,*=1,0=1", "names each source once, got * again"),
        ("circle=1,1=0", "names each source once, got 1 again"),
        ("0=0,4=1,9=1", "ids 0 to 3; the mapping names [4, 9]"),
        ("0=1", "target ids must be 0 to n-1"),
        ("circel=1,*=0", "names among background, circle, square, triangle; got 'circel'"),
        ("circle=1,*=rest", "all ids or all names, got ['1', 'rest']"),
    ],
)
def test_what_is_no_mapping_is_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_class_mapping(text, FOUR)


def test_the_identity_keeps_classes_and_makes_the_rest_void() -> None:
    mapping = identity_mapping(FOUR)
    assert mapping.labels == FOUR
    assert mapping(np.array([0, 1, 2, 3, 4, 254, 255], np.uint8)).tolist() == [0, 1, 2, 3, 255, 255, 255]
