"""Classes of a model and labels of a tool, by their names."""

from __future__ import annotations

import pytest
from fcn_client import Label
from fcn_client.matching import check_aliases, is_background, match, parse_aliases

LABELS = [Label(id, name, "#000000", "#000000") for id, name in enumerate(["background", "cat", "dog", "Traffic Light"])]


def test_names_match_in_any_case_and_aliases_beat_them() -> None:
    names = {name: name for name in ("Dog", "dog", "CAT", "traffic light", "tree")}
    assert match(LABELS, names, {}) == {1: "CAT", 2: "dog", 3: "traffic light"}
    names = {"Animal": "Animal", "cat": "cat"}
    assert match(LABELS, names, parse_aliases("Cat=Animal, dog=animal")) == {1: "Animal", 2: "Animal"}
    assert match(LABELS, {"background": "background", "Dog": "hound", "hound": "hound"}, {}) == {0: "background", 2: "hound"}
    assert match(LABELS, {}, {"cat": "Animal"}) == {}


@pytest.mark.parametrize("text", ["cat", "cat=", "=Animal", "cat=Animal,dog"])
def test_broken_aliases_are_told(text: str) -> None:
    with pytest.raises(ValueError, match="CLASS=LABEL"):
        parse_aliases(text)


def test_an_alias_of_a_class_that_the_model_lacks_is_told() -> None:
    check_aliases({"CAT": "Animal"}, LABELS)
    with pytest.raises(ValueError, match=r"'trafic light'.*did you mean 'Traffic Light'"):
        check_aliases({"trafic light": "Lamp"}, LABELS)
    with pytest.raises(ValueError, match="there are background, cat, dog, Traffic Light"):
        check_aliases({"zebra": "Animal"}, LABELS)


def test_background_has_three_spellings() -> None:
    names = ["background", "Background", "_background_", "back", "backgrounds"]
    assert [is_background(Label(0, name, "#000000", "#000000")) for name in names] == [True, True, True, False, False]
