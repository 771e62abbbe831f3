"""Every query within its ranges is answered with 200, and any other one, and any head, as documented."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import hypothesis.strategies as st
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings

from app.api.query import QUERY_PARAMETERS
from tests.support.app.openapi import LONG, QUICK, STATUSES, assert_documented, without_unused
from tests.support.app.services import module_client
from tests.support.images import encode, make_photo
from tests.support.variants import long

PHOTO = encode(make_photo(40, 70), "JPEG")


good_queries = st.fixed_dictionaries(
    {"format": st.sampled_from(["png", "color", "overlay", "cutout", "confidence", "json", "coco", "npz"])},
    optional={
        "mask": st.sampled_from(["rle", "png", "array", "polygons"]),
        "blend": st.sampled_from(["mean", "hann"]),
        "overlap": st.floats(0, 0.5),
        "side": st.one_of(st.sampled_from(["auto", "native"]), st.integers(32, 280)),
        "alpha": st.floats(0, 1),
        "confidence": st.booleans(),
        "probabilities": st.booleans(),
        "min_confidence": st.floats(0, 1),
        "min_area": st.sampled_from(["0", "20", "0.5%", "100%"]),
        "fill_holes": st.sampled_from(["9", "2%"]),
        "tolerance": st.floats(0, 100),
        "objects": st.sampled_from(["all", "largest"]),
        "min_object_confidence": st.floats(0, 1),
        "width": st.integers(1, 90),
        "height": st.integers(1, 50),
    },
).map(without_unused)


names = st.one_of(st.sampled_from(sorted(QUERY_PARAMETERS)), st.text(max_size=10))
values = st.one_of(st.text(max_size=20), st.floats().map(str), st.sampled_from(["json", "coco", "1e999", "1_0", "٣", "null"]))
queries = st.lists(st.tuples(names, values), max_size=6).map(lambda pairs: urlencode(pairs, errors="surrogatepass"))
latin = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
telling = ["*", "image/*;q=0", "application/json;q=1e400", "gzip, *;q=0", 'W/"x"', "text/html,,;", "chunked", "identity"]
headers = st.dictionaries(
    st.sampled_from(["Accept", "Accept-Encoding", "If-None-Match", "Authorization", "X-Request-ID", "Origin", "Range"]),
    st.one_of(st.sampled_from(telling), latin).map(str.strip).map(lambda value: value.encode("latin-1")),
    max_size=3,
)


client = module_client(max_queued_tiles=32, max_upload_mb=1, max_batch_mb=1)  # sides up to 280 take 21 tiles


@pytest.mark.parametrize("examples", [QUICK, *long(LONG)], ids=["few", "many"])
def test_a_query_within_its_ranges_is_answered_with_200_for_an_image(client: TestClient, examples: settings) -> None:
    @examples
    @given(query=good_queries)
    def ask(query: dict[str, Any]) -> None:
        for path in STATUSES:
            response = client.post(path, files={"file": ("a", PHOTO)}, params=query)
            assert response.status_code == 200, response.text
            assert_documented(response, path)

    ask()


@pytest.mark.long
@LONG
@given(query=queries, headers_of_request=headers)
def test_any_query_and_head_are_answered(client: TestClient, query: str, headers_of_request: dict[str, bytes]) -> None:
    for path in STATUSES:
        answer = client.post(f"{path}?{query}", files={"file": ("a", PHOTO)}, headers=headers_of_request)
        assert_documented(answer, path)
