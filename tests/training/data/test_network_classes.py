"""A network's classes count as those of a data set that have their names; what is unknown is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from model.labels import numbered_labels
from training.data.class_mapping import identity_mapping, parse_class_mapping
from training.data.network_classes import OTHER, NetworkClasses, network_classes
from training.data.split import Split


def match(network: str, masks: str, class_map: str | None = None) -> NetworkClasses:
    """What `network_classes` gives for names that are separated by blanks."""
    labels = numbered_labels(masks.split())
    mapping = parse_class_mapping(class_map, labels, network.split()) if class_map else identity_mapping(labels)
    return network_classes(network.split(), Split("val", (), mapping, labels))


def test_classes_that_the_labels_lack_count_as_background_or_without_one_as_another_class() -> None:
    classes = match("background tower cat dog", "background dog Cat")
    assert classes.table[:4].tolist() == [0, 0, 2, 1]
    assert classes.names == ["background", "dog", "Cat"]
    assert "1 of its 4 are none of them and count as background: tower" in classes.line
    classes = match("background cat dog sofa", "dog cat")
    assert classes.table[:4].tolist() == [2, 1, 0, 2]
    assert classes.names == ["dog", "cat", OTHER]
    assert "2 of its 4 are none of them and count as another class, which is wrong where there is a label" in classes.line


@pytest.mark.parametrize(
    ("network", "masks", "class_map", "rows"),
    [
        ("a b c", "a b c", None, [0, 1, 2]),
        ("c a b", "a b c", None, [2, 0, 1]),  # another order
        ("ground cat dog", "ground cat dog", "ground=rest,*=animal", [0, 1, 1]),  # the mapping is of both
        ("rest animal", "ground cat dog", "ground=rest,*=animal", [0, 1]),  # trained with the mapping
        ("animal rest", "ground cat dog", "ground=rest,*=animal", [1, 0]),
        ("dog lamp ground cat", "ground cat dog", "ground=rest,cat=animal,*=rest", [0, 0, 0, 1]),
        ("background cat dog sofa", "background animal", "cat=animal,dog=animal,animal=animal,*=background", [1, 0, 0, 1]),
        ("background cat dog sofa", "cat dog", "cat=cat,dog=dog,*=other", [2, 0, 1, 2]),  # a class that no mask shows
        ("background cat sofa", "background cat lynx", "lynx=cat,cat=cat,background=background", [1, 0, 1]),
        ("background cat sofa", "background cat griffin", "cat=1,background=0", [0, 1, 0]),  # an unknown class may be void
        ("background cat sofa", "background tabby", "tabby=cat,*=background", [1, 0, 1]),  # by the targets' names
    ],
)
def test_a_class_map_is_of_both(network: str, masks: str, class_map: str | None, rows: list[int]) -> None:
    assert match(network, masks, class_map)(np.arange(len(rows), dtype=np.uint8)).tolist() == rows


def test_the_same_classes_need_no_line() -> None:
    assert not match("a b", "a b").line
    assert not match("a b c", "a b c", "a=x,*=y").line
    assert match("b a", "a b").line == "the network's classes are those of the labels by name"


@pytest.mark.parametrize(
    ("network", "masks", "class_map", "message"),
    [
        ("background cat dog", "background catt dog", None, "none of the labels' 'catt' (did you mean 'cat'?)"),
        ("background cat", "background crown", None, "none of the labels' 'crown'"),
        ("cat dog", "cat dog lynx", "cat=cat,dog=dog,*=lynx", "none of the labels' 'lynx'"),
        ("background cat dog", "background cat sofa", "cat=cat,sofa=cat", "names every class: background missing; add *=..."),
        ("cat Cat", "lamp dog", None, "none of the labels' 'lamp', 'dog'"),
        ("background cat", "animal", "catt=animal", "names among animal, background, cat; got 'catt' (did you mean 'cat'?)"),
    ],
)
def test_what_the_network_lacks_is_told_with_the_near_name(
    network: str, masks: str, class_map: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        match(network, masks, class_map)
