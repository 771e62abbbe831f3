"""Reads a project's labelling configuration: which tag takes masks or polygons, of which image, with which labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from xml.etree.ElementTree import Element

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

Kind = Literal["brushlabels", "polygonlabels"]
KINDS: dict[str, Kind] = {"BrushLabels": "brushlabels", "PolygonLabels": "polygonlabels"}


class UnusableConfiguration(ValueError):
    """A labelling configuration without a tag that takes the service's answers."""


@dataclass(frozen=True)
class Control:
    """The tag that takes the answers.

    kind: the type of its results. from_name: its name. to_name: the name of the image's tag. field: the field of a task's data
    that has the image's address. labels: the names of labels in results, by value and by alias; a label with an alias is named
    by the alias.
    """

    kind: Kind
    from_name: str
    to_name: str
    field: str
    labels: dict[str, str]


def read_control(configuration: str) -> Control:
    """The first `BrushLabels` or `PolygonLabels` of an `Image`. Raises `UnusableConfiguration`."""
    try:
        root: Element = fromstring(configuration)
    except (ParseError, DefusedXmlException) as error:
        raise UnusableConfiguration(f"the labelling configuration is no XML: {error}") from error
    images = {tag.get("name"): tag.get("value", "") for tag in root.iter("Image")}
    for tag in root.iter():
        to_name = tag.get("toName", "").split(",")[0].strip()
        if tag.tag in KINDS and to_name in images:
            labels = [(label.get("value"), label.get("alias")) for label in tag.iter("Label")]
            return Control(
                kind=KINDS[tag.tag],
                from_name=tag.get("name", ""),
                to_name=to_name,
                field=images[to_name].lstrip("$"),
                labels={name: alias or name for value, alias in labels for name in (value, alias) if name},
            )
    control_text = f"{' or '.join(KINDS)} whose toName is an Image"
    raise UnusableConfiguration(f"the labelling configuration has no {control_text}; add one in Settings, Labeling Interface")
