"""What is read of a project's labelling configuration."""

from __future__ import annotations

import pytest
from fcn_client.label_studio.predicting import Unusable, read_control

from tests.support.client.label_studio import configuration


@pytest.mark.parametrize(("tag", "kind"), [("BrushLabels", "brushlabels"), ("PolygonLabels", "polygonlabels")])
def test_the_tag_of_masks_or_polygons_is_read(tag: str, kind: str) -> None:
    control = read_control(configuration(tag))
    assert (control.kind, control.from_name, control.to_name, control.field) == (kind, "tag", "img", "photo")
    assert control.labels == {"Cat": "Cat", "dog": "hound", "hound": "hound", "Tree": "Tree"}


def test_the_first_tag_of_an_image_counts() -> None:
    text = """<View><Text name="text" value="$text"/><Image name="a" value="$photo"/>
      <PolygonLabels name="of-text" toName="text"><Label value="x"/></PolygonLabels>
      <View><BrushLabels name="first" toName="a"><Label value="cat"/></BrushLabels></View>
      <PolygonLabels name="second" toName="a"><Label value="dog"/></PolygonLabels></View>"""
    control = read_control(text)
    assert (control.from_name, control.labels) == ("first", {"cat": "cat"})


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;">]><View>&c;</View>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no XML"),
        ("<View>", "is no XML"),
        (BOMB, "is no XML"),
        ("<View/>", "has no BrushLabels or PolygonLabels whose toName is an Image"),
        ('<View><Image name="img" value="$photo"/><RectangleLabels name="tag" toName="img"/></View>', "has no BrushLabels"),
        ('<View><BrushLabels name="tag" toName="img"/></View>', "has no BrushLabels"),
    ],
    ids=["empty", "cut", "entities", "none", "rectangles", "no image"],
)
def test_a_configuration_that_takes_no_masks_is_told(text: str, message: str) -> None:
    with pytest.raises(Unusable, match=message):
        read_control(text)
