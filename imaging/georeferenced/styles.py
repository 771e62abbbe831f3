"""Styles for QGIS (`.qml`): the classes' names and colours. QGIS takes the style beside a layer that has its name."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree

from imaging.classes import Label

DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
VERSION = "3.22"  # of QGIS, whose elements these are; later ones read them
HEAD = f'{DOCTYPE}<qgis version="{VERSION}"'.encode()
"""What every style of ours begins with."""
OPACITY = "0.6"


def raster_style(labels: Iterable[Label]) -> str:
    """The style of a raster of class ids: a palette with names."""
    root = ElementTree.Element("qgis", version=VERSION)
    renderer = ElementTree.SubElement(
        ElementTree.SubElement(root, "pipe"), "rasterrenderer", type="paletted", band="1", opacity=OPACITY, alphaBand="-1"
    )
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for label in labels:
        ElementTree.SubElement(
            palette, "paletteEntry", value=str(label.id), color=label.hex_color, alpha="255", label=label.name
        )
    return _text(root)


def polygon_style(labels: Iterable[Label]) -> str:
    """The style of polygons with the field `class`: a fill for each class."""
    root = ElementTree.Element("qgis", version=VERSION, styleCategories="Symbology")
    renderer = ElementTree.SubElement(root, "renderer-v2", type="categorizedSymbol", attr="class", symbollevels="0")
    categories, symbols = (ElementTree.SubElement(renderer, name) for name in ("categories", "symbols"))
    for index, label in enumerate(labels):
        name = str(index)
        ElementTree.SubElement(
            categories, "category", value=label.name, label=label.name, symbol=name, render="true", type="string"
        )
        symbol = ElementTree.SubElement(symbols, "symbol", name=name, type="fill", alpha=OPACITY)
        layer = ElementTree.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0", "locked": "0"})
        options = ElementTree.SubElement(layer, "Option", type="Map")
        color = ",".join(str(int(label.hex_color[start : start + 2], 16)) for start in (1, 3, 5))
        for key, value in (("color", f"{color},255"), ("style", "solid"), ("outline_color", f"{color},255")):
            ElementTree.SubElement(options, "Option", name=key, type="QString", value=value)
    return _text(root)


def _text(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    return f"{DOCTYPE}{ElementTree.tostring(root, encoding='unicode')}\n"
