"""Parameters: from the query, a form's fields and JSON; wrong values, unknown names, names that come twice."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from app.api.body import RequestBody, read_image
from app.api.errors import BadParameter, BadRequest
from app.api.forms import read_form_image
from app.api.query import with_values
from app.serving.clients import Client
from app.serving.service import Service
from tests.support.app.exchanges import PHOTO, assert_idle, assert_problem, post, service_of
from tests.support.app.services import reserve
from tests.support.costs import compares_times, noted_passes
from tests.support.images import encode

FILE = {"file": ("photo", PHOTO)}
TEXT = base64.b64encode(PHOTO).decode()
PATHS = ("/segment", "/segment/batch")
SIDE = "side: must be one of auto, native or a whole number from 32 to 16384"


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ({"format": "gif"}, "query format: must be one of png, grey,"),
        ({"mask": "polygon"}, "query mask: must be one of rle, png, array, polygons, got 'polygon'"),
        ({"overlap": "0.6"}, "query overlap: must be a number from 0 to 0.5, got '0.6'"),
        ({"side": "31"}, f"query {SIDE}, got '31'"),
        ({"side": "20000"}, f"query {SIDE}, got '20000'"),
        ({"side": "\x00\ud7ff"}, "side"),
        ({"min_confidence": "inf"}, "min_confidence"),
        ({"min_area": "1e3"}, "query min_area: must be 0 to 999999999 whole pixels, or 0% to 100% of the"),
        ({"sides": "64"}, "query sides: there is no such parameter; did you mean side?"),
        ({"Format": "png"}, "query Format: there is no such parameter; did you mean format?"),
        ({"utm_source": "x"}, "query utm_source: there is no such parameter; leave it out"),
    ],
    ids=str,
)
def test_a_wrong_value_or_name_is_told_with_the_choices(pairs: dict[str, str], words: str) -> None:
    with pytest.raises(BadParameter) as error_info:
        with_values({}, pairs.items(), "query")
    assert words in error_info.value.detail


def test_what_would_have_no_effect_is_refused(client: TestClient) -> None:
    for query, words in (
        ("side=64&side=64", "query side: it comes twice; give it once"),
        ("format=gif", "query format: must be one of png"),
        ("format=png&mask=rle", "mask applies to format=json, coco, got format=png"),
        ("format=binary&width=9", "width applies to format=color, overlay, cutout, got format=binary"),
        ("format=color&objects=largest", "objects applies to format=overlay, cutout, binary, coco, got format=color"),
        ("format=color&object=largest", "query object: there is no such parameter; did you mean objects?"),
        ("format=cutout&width=0", "query width: must be a whole number from 1 to 100000, got '0'"),
    ):
        for path in PATHS:
            answer = client.post(f"{path}?{query}", files=FILE)
            assert_problem(answer, 422, words)
            assert answer.json()["type"] == "urn:problem-type:fcn-segment:wrong-parameter"
    by_accept = client.post("/segment?mask=png", content=PHOTO, headers={"Accept": "application/json"})
    assert by_accept.content == post(client, format="json", mask="png").content
    assert_problem(client.post("/segment?mask=png", content=PHOTO), 422, "got format=png")
    assert_idle(service_of(client))


def test_fields_of_a_form_work_as_the_query_does(client: TestClient) -> None:
    expected = post(client, format="overlay", alpha=0.25, image_format="jpeg")
    answer = client.post("/segment", files=FILE, data={"format": "overlay", "alpha": "0.25", "image_format": "jpeg"})
    assert (answer.content, answer.headers["etag"]) == (expected.content, expected.headers["etag"])
    mixture = client.post("/segment?format=overlay&image_format=jpeg", files=FILE, data={"alpha": "0.25", "comment": "any"})
    assert mixture.content == expected.content
    batch = client.post("/segment/batch", files=FILE, data={"format": "coco", "mask": "polygons", "name": "a.png", "id": "1"})
    assert batch.content == client.post("/segment/batch?format=coco&mask=polygons", files=FILE).content


def test_wrong_fields_of_a_form_are_refused(client: TestClient) -> None:
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("side=64", {"side": "64"}, "form field side: the query has it too; give it once"),
        ("", {"side": ["64", "64"]}, "form field side: it comes twice; give it once"),
        ("", {"side": "31"}, f"form field {SIDE}, got '31'"),
        ("", {"format": "json", "alpha": "0.5"}, "alpha applies to format=overlay, got format=json"),
        ("", {"fromat": "json"}, "form field fromat: there is no such parameter; did you mean format?"),
        ("", {"Format": "json"}, "form field Format: there is no such parameter; did you mean format?"),
        ("", {"classes": " , "}, "classes: must be names or ids of classes"),
    ]
    for query, data, words in wrong:
        for path in PATHS:
            answer = client.post(f"{path}?{query}", files=FILE, data=data)
            assert_problem(answer, 422, words)
            assert "query classes" not in answer.json()["detail"]
    answer = client.post("/segment", files=FILE | {"alpha": ("a.txt", b"1.5")})
    assert_problem(answer, 422, "form field alpha: must be a number from 0 to 1, got '1.5'")


def test_a_second_image_leads_to_the_batch(client: TestClient) -> None:
    twice = [("file", ("a", PHOTO)), ("image", ("b", PHOTO))]
    assert_problem(client.post("/segment", files=twice), 400, "2 images", "/segment/batch")
    assert client.post("/segment/batch", files=twice).status_code == 200


def test_json_is_answered_as_a_form_is(client: TestClient) -> None:
    for prefix in ("", "data:image/png;base64,", "DATA:image/svg+xml;charset=utf-8;base64,"):
        assert client.post("/segment", json={"inputs": prefix + TEXT}).content == post(client).content
    url_safe = TEXT.rstrip("=").translate(str.maketrans("+/", "-_"))
    assert client.post("/segment", json={"inputs": url_safe}).content == post(client).content
    parameters = {"format": "json", "mask": "polygons", "side": 64, "tolerance": 0.5}
    expected = post(client, **parameters)
    answer = client.post("/segment", json={"inputs": TEXT, "parameters": parameters})
    assert (answer.content, answer.headers["etag"]) == (expected.content, expected.headers["etag"])
    mixture = client.post(
        "/segment?format=json&mask=polygons", json={"inputs": TEXT, "parameters": {"side": 64, "tolerance": 0.5}}
    )
    assert mixture.content == expected.content


def test_a_body_that_is_declared_as_json_is_judged_by_its_bytes(client: TestClient) -> None:
    body, headers = json.dumps({"inputs": TEXT}).encode(), {"Content-Type": "application/json; charset=utf-8"}
    for good in (PHOTO, b" \r\n\t" + body, b"\xef\xbb\xbf \r\n" + body):
        assert client.post("/segment", content=good, headers=headers).content == post(client).content
    assert_problem(client.post("/segment", content=b" " * 5000 + body, headers=headers), 415, "none of PNG")
    for text in (b"[object FormData]", b"undefined", b"null"):
        assert_problem(client.post("/segment", content=text, headers=headers), 415, "text that a program wrote for a value")
    for bad, words in (
        (body.decode().encode("utf-16"), "not JSON in UTF-8"),
        (body.decode().encode("utf-32-be"), "not JSON in UTF-8"),
        (b'{"inputs": ', "not JSON"),
        (b"[" * 2000, "more than 1000 values"),
        (b'"' * 9000, "more than 1000 values"),
        (b'{"inputs":' + b" " * 2_000_000 + b'""}', "more than 1048576 bytes besides images"),
        (b'{"inputs": NaN}', "not JSON"),
    ):
        assert_problem(client.post("/segment", content=bad, headers=headers), 400, words)


AS_JSON = {"Content-Type": "application/json"}
LONG = base64.b64encode(encode(np.random.default_rng(0).integers(0, 256, (500, 600, 3), np.uint8))).decode()
ESCAPES = str.maketrans({"+": "\\u002B", "/": "\\/", "=": "\\u003D"})


@pytest.mark.parametrize("piece", [11, 1000, 1 << 18])
def test_json_is_read_in_pieces_wherever_they_end(client: TestClient, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr("app.api.body.PIECE", piece)
    text, expected = (TEXT, post(client)) if piece == 11 else (LONG, post(client, base64.b64decode(LONG)))
    monkeypatch.setattr("app.api.body.LONG", 50)
    more = '"parameters": {"side": "\\\\\\"' + "c" * 90 + '"}'
    for inputs in (text, text.translate(ESCAPES), "data:image/png;base64," + text):
        answer = client.post("/segment", content=f'{{"inputs": "{inputs}"}}', headers=AS_JSON)
        assert answer.content == expected.content, inputs[:50]
        refusal = client.post("/segment", content=f'{{{more}, "inputs": "{inputs}"}}', headers=AS_JSON)
        assert_problem(refusal, 422, "side", "of more than 50 bytes")
    for wrong in ("=", "\\n", '\\"', "\\\\"):
        wrong = text[:100] + wrong + text[100:]
        assert_problem(client.post("/segment", content=f'{{"inputs": "{wrong}"}}', headers=AS_JSON), 400)


@compares_times
@pytest.mark.parametrize("kind", ["raw", "base64", "escaped", "unknown name", "values", "form"])
def test_a_pass_of_the_event_loop_costs_no_more_for_a_larger_body(service: Service, kind: str) -> None:
    def longest(count: int) -> float:
        data = bytes(count) if kind in ("raw", "form") else b'{"%b":"' % (b"x" if kind == "unknown name" else b"inputs")
        if kind == "form":
            data = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + data + b"\r\n--b--\r\n"
        elif kind != "raw":
            data += {"escaped": b"\\u002BAAA", "values": b'","'}.get(kind, b"AAAA") * (count // 4) + b'"}'
        media = {"raw": b"image/png", "form": b"multipart/form-data; boundary=b"}.get(kind, b"application/json")

        async def read() -> list[float]:
            starts = iter(range(0, len(data), 1 << 16))

            async def receive() -> dict[str, object]:
                await asyncio.sleep(0)
                start = next(starts)
                return {
                    "type": "http.request",
                    "body": data[start : start + (1 << 16)],
                    "more_body": start + (1 << 16) < len(data),
                }

            with reserve(service) as reservation:
                state = {"reservation": reservation, "client": Client(lambda: len(data), lambda: None)}
                request = Request({"type": "http", "headers": [(b"content-type", media)], "state": state}, receive)
                async with noted_passes() as passes:
                    with suppress(BadRequest, BadParameter):
                        await (read_form_image if kind == "form" else read_image)(RequestBody(request, service, 64), {})
                return passes

        # of each pass the shortest of five readings: what interrupts one of hundreds does not meet the same one each time
        return max(map(min, zip(*(asyncio.run(read()) for _ in range(5)), strict=False)))

    assert longest(16_000_000) <= 3 * longest(2_000_000)


URL = "https://images.example/cat.jpg"


@pytest.mark.parametrize(
    ("document", "status", "words"),
    [
        ({"url": URL}, 415, ["does not fetch URLs", URL, "curl --data-binary @-"]),
        ({"inputs": URL}, 415, ["does not fetch URLs", URL]),
        ({"inputs": {"url": URL}}, 400, ["no text `inputs`"]),
        ([TEXT], 400, ["no object"]),
        ({"inputs": "%%%%"}, 400, ["not base64", 'send {"inputs": "iVBORw0KGgo="', "base64 -w0 photo.jpg"]),
        ({"inputs": TEXT, "parameters": {"classes": ["cat", "dog"]}}, 422, ["got ['cat', 'dog']; write 'cat,dog'"]),
        ({"inputs": TEXT[:40] + "=" + TEXT}, 400, ["not base64"]),
        ({"inputs": "data:image/png;base64,"}, 400, ["the image is empty"]),
        ({"inputs": base64.b64encode(b"text").decode()}, 415, ["none of PNG"]),
        ({"inputs": base64.b64encode(PHOTO[:400]).decode()}, 422, ["damaged"]),
        ({"inputs": TEXT, "format": "json"}, 422, ["format", "put it into parameters"]),
        ({"inputs": TEXT, "parameters": [1]}, 422, ["parameters: must be an object", "[1]"]),
        ({"inputs": TEXT, "parameters": {"side": 31}}, 422, ["parameters side: must be", "got 31"]),
        ({"inputs": TEXT, "parameters": {"alpha": 0.5}}, 422, ["alpha applies to format=overlay"]),
        ({"inputs": TEXT, "parameters": {"blend": "hann"}}, 422, ["parameters blend: the query has it too; give it once"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_json_says_what_to_send(client: TestClient, document: object, status: int, words: list[str]) -> None:
    assert_problem(client.post("/segment?blend=mean", json=document), status, *words)
    assert_idle(service_of(client))
