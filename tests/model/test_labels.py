"""Label sets: the published palettes, and sets that contradict themselves."""

from __future__ import annotations

import pytest

from model.labels import (
    LabelClass,
    LabelError,
    LabelSet,
    camvid_labels,
    numbered_labels,
    parse_color,
    voc_color,
    voc_labels,
)

BLACK, VOID = (0, 0, 0), (224, 224, 192)


def test_colours_are_those_of_the_voc_palette() -> None:
    colors = {0: BLACK, 7: (128, 128, 128), 15: (192, 128, 128), 64: (32, 0, 0), 255: VOID}
    assert {index: voc_color(index) for index in colors} == colors


def test_voc_has_its_21_classes_in_order() -> None:
    labels = voc_labels()
    names = {0: "background", 1: "aeroplane", 8: "cat", 11: "diningtable", 15: "person", 20: "tvmonitor"}
    assert (len(labels), labels.ignore_index) == (21, 255)
    assert {index: labels.names[index] for index in names} == names
    assert labels.palette[:21] == [voc_color(i) for i in range(21)]


def test_camvid_has_its_11_classes_and_calls_the_twelfth_unlabelled() -> None:
    labels = camvid_labels()
    assert (len(labels), labels.ignore_index) == (11, 11)
    assert (labels.names[3], labels.palette[3]) == ("Road", (128, 64, 128))
    assert (labels.names[10], labels.palette[10]) == ("Bicyclist", (0, 128, 192))
    assert labels.palette[11] == labels.palette[255] == VOID


@pytest.mark.parametrize("labels", [voc_labels(), camvid_labels(), numbered_labels(["one"])], ids=len)
def test_a_palette_has_256_entries_black_where_no_class_is(labels: LabelSet) -> None:
    palette = labels.palette
    assert len(palette) == 256
    assert palette[255] == VOID
    others = [palette[i] for i in range(len(labels), 255) if i != labels.ignore_index]
    assert set(others) == {BLACK}


def test_a_label_set_survives_being_written_down() -> None:
    labels = camvid_labels()
    entries = labels.to_list()
    assert entries[4] == {"id": 4, "name": "Pavement", "color": "#3c28de"}
    assert LabelSet.from_list(entries, 11) == labels


@pytest.mark.parametrize(
    ("ids", "ignore_index", "message"),
    [
        ([], 255, r"class ids must be 0 to n-1 in order, got \[\]"),
        ([0, 2, 1], 255, "class ids must be 0 to n-1 in order"),
        ([0, 1], 1, "ignore_index must be 0 to 255 and no class's id, got 1"),
        ([0, 1], -1, "ignore_index must be 0 to 255 and no class's id, got -1"),
        (list(range(256)), 255, "a label set has at most 255 classes: masks have 8 bits, and one value is void; got 256"),
    ],
)
def test_sets_that_contradict_themselves_are_refused(ids: list[int], ignore_index: int, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        LabelSet(tuple(LabelClass(i, "x", BLACK) for i in ids), ignore_index)


@pytest.mark.parametrize("entry", [{"id": 0, "name": "x"}, {"name": "x", "color": "#000000"}, 5, None], ids=str)
def test_an_incomplete_class_is_refused(entry: object) -> None:
    with pytest.raises(LabelError, match="id, name and color"):
        LabelSet.from_list([entry], 255)  # type: ignore[list-item]


def test_colours_are_read_in_either_case() -> None:
    assert parse_color("#C08000") == parse_color("#c08000") == (192, 128, 0)


@pytest.mark.parametrize("text", ["red", "#fff", "#12345g", "123456", "#1234567", "#123456\n"])
def test_other_writings_of_a_colour_are_refused(text: str) -> None:
    with pytest.raises(LabelError, match="#rrggbb"):
        parse_color(text)
