"""Styles for QGIS name every class with its colour."""

from __future__ import annotations

from xml.etree import ElementTree

from model.inference.scenes.outputs import polygon_style, raster_style
from model.labels import LabelClass

LABELS = (
    LabelClass(0, "meadow & tree", (1, 2, 3)),
    LabelClass(1, 'the "cow"', (250, 16, 0)),
    LabelClass(2, "background", (0, 0, 0)),
)


def test_a_raster_has_a_palette_with_names_in_which_the_background_hides_nothing() -> None:
    entries = ElementTree.fromstring(raster_style(LABELS)).findall(".//paletteEntry")
    assert [tuple(each.get(key) for key in ("value", "label", "color", "alpha")) for each in entries] == [
        ("0", "meadow & tree", "#010203", "255"), ("1", 'the "cow"', "#fa1000", "255"), ("2", "background", "#000000", "0"),
    ]  # fmt: skip


def test_polygons_have_a_fill_for_each_class() -> None:
    root = ElementTree.fromstring(polygon_style(LABELS))
    symbols = {each.get("name"): each for each in root.findall(".//symbol")}
    for category, color in zip(root.findall(".//category"), ("1,2,3,255", "250,16,0,255", "0,0,0,255"), strict=True):
        symbol = symbols[category.get("symbol")]
        assert symbol.find(".//Option[@name='color']").get("value") == color  # type: ignore[union-attr]
    assert [each.get("value") for each in root.findall(".//category")] == [label.name for label in LABELS]
