"""What is read of a project's labelling configuration."""

from __future__ import annotations

import numpy as np
import pytest
from fcn_client.label_studio.predicting import Unusable, encode_brush, read_control
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.client.label_studio import configuration, decode_brush


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


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_a_mask_is_the_same_once_decoded(height: int, width: int, share: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    top, left = int(random.integers(0, 5)), int(random.integers(0, 5))
    size = (top + height + int(random.integers(0, 5)), left + width + int(random.integers(0, 5)))
    part = random.random((height, width)) < share
    whole = np.zeros(size, bool)
    whole[top : top + height, left : left + width] = part
    np.testing.assert_array_equal(decode_brush(encode_brush(part, left=left, top=top, size=size), size), whole)


@pytest.mark.parametrize("inside", [True, False])
def test_runs_that_are_longer_than_their_largest_size(inside: bool) -> None:
    size = (300, 301)
    mask = np.full(size, inside)
    rle = encode_brush(mask, left=0, top=0, size=size)
    assert len(rle) < 40
    np.testing.assert_array_equal(decode_brush(rle, size), mask)
