"""Mappings to fewer classes: their syntax, their tables, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from model.labels import camvid_labels, numbered_labels, voc_labels
from training.data.class_mapping import identity_mapping, parse_class_mapping

FOUR = numbered_labels(["background", "circle", "square", "triangle"])


def test_named_sources_go_to_their_targets_and_the_wildcard_takes_the_rest() -> None:
    mapping = parse_class_mapping("0=0,15=1,8=2,12=2,*=0", voc_labels())
    expected = np.full(256, 255)
    expected[:21] = 0
    expected[15], expected[8], expected[12] = 1, 2, 2
    assert np.array_equal(mapping.table, expected)


def test_targets_are_named_and_colored_after_their_lowest_named_source() -> None:
    mapping = parse_class_mapping("15=1,12=2,8=2,*=0,3=0", voc_labels())
    assert [(entry.id, entry.name) for entry in mapping.labels.classes] == [(0, "bird"), (1, "person"), (2, "cat")]
    assert [entry.color for entry in mapping.labels.classes] == [voc_labels().classes[i].color for i in (3, 15, 8)]


def test_a_target_of_the_wildcard_alone_is_named_after_its_lowest_source() -> None:
    assert parse_class_mapping("0=1,*=0", FOUR).labels.names == ["circle", "background"]


def test_ids_that_are_not_named_become_void() -> None:
    mapping = parse_class_mapping("1=0,2=1", FOUR)
    assert mapping(np.arange(6, dtype=np.uint8)).tolist() == [255, 0, 1, 255, 255, 255]


def test_void_stays_void_under_a_wildcard() -> None:
    mapping = parse_class_mapping("*=0", camvid_labels())
    assert mapping(np.array([0, 10, 11, 12, 255], np.uint8)).tolist() == [0, 0, 11, 11, 11]
    assert mapping.labels.ignore_index == 11


def test_spaces_do_not_matter_and_a_name_beats_the_wildcard_wherever_it_stands() -> None:
    first, second = parse_class_mapping("* = 0, 1 = 1", FOUR), parse_class_mapping("1=1,*=0", FOUR)
    assert np.array_equal(first.table, second.table)
    assert first.table[1] == 1


@pytest.mark.parametrize("text", ["", "0", "0:1", "0=0,", "=0", "0=*", "0=-1", "**=0", "0==0"])
def test_a_wrong_syntax_is_shown_with_the_right_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"is written 0=0,8=1,\*=0"):
        parse_class_mapping(text, FOUR)


@pytest.mark.parametrize("text", ["0=0,1=1,1=0", "*=0,*=1,0=1"])
def test_a_source_is_named_once(text: str) -> None:
    with pytest.raises(ValueError, match="names each source once, got"):
        parse_class_mapping(text, FOUR)


def test_a_source_outside_the_label_set_is_named() -> None:
    with pytest.raises(ValueError, match=r"ids 0 to 3; the mapping names \[4, 9\]"):
        parse_class_mapping("0=0,4=1,9=1", FOUR)


@pytest.mark.parametrize("text", ["0=1", "0=0,1=2", "0=0,1=300"])
def test_targets_must_count_from_zero(text: str) -> None:
    with pytest.raises(ValueError, match="target ids must be 0 to n-1"):
        parse_class_mapping(text, FOUR)


def test_targets_may_be_names_in_the_order_in_which_they_are_named() -> None:
    mapping = parse_class_mapping("background=ground,circle=round thing,3=edgy,square=edgy", FOUR)
    assert mapping(np.arange(5, dtype=np.uint8)).tolist() == [0, 1, 2, 2, 255]
    assert mapping.labels.names == ["ground", "round thing", "edgy"]
    assert [entry.color for entry in mapping.labels.classes] == [FOUR.classes[index].color for index in (0, 1, 2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("circel=1,*=0", "names among background, circle, square, triangle; got 'circel'"),
        ("circle=1,1=0", "names each source once, got 1 again"),
        ("circle=1,*=rest", "all ids or all names, got ['1', 'rest']"),
    ],
)
def test_names_that_mean_nothing_are_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_class_mapping(text, FOUR)


def test_the_identity_keeps_classes_and_makes_the_rest_void() -> None:
    mapping = identity_mapping(FOUR)
    assert mapping.labels == FOUR
    assert mapping(np.array([0, 1, 2, 3, 4, 254, 255], np.uint8)).tolist() == [0, 1, 2, 3, 255, 255, 255]
