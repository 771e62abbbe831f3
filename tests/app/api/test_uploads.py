"""The image in a request's body: in a form, or raw; its name; forms that cannot be read; and the limits of its bytes."""

from __future__ import annotations

import gzip
import json
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import pytest
from fastapi.testclient import TestClient

from tests.support.app.exchanges import PHOTO, assert_idle, assert_problem, pixels, post, service_of
from tests.support.app.services import Serve
from tests.support.images import encode, make_photo
from tests.support.variants import long

PART = 'form-data; name="file"; filename="a"'
NAMELESS = 'form-data; name="file"'
PATHS = ("/segment", "/segment/batch")


def form(parameters: str, disposition: str = PART) -> dict[str, Any]:
    """A form of one part, whose boundary is `x`."""
    body = f"--x\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + PHOTO + b"\r\n--x--\r\n"
    return {"content": body, "headers": {"Content-Type": f"multipart/form-data{parameters}".encode("latin-1")}}


def parts(*disposition_and_data: tuple[str, bytes], before: bytes = b"", after: bytes = b"") -> dict[str, Any]:
    """A form of these parts, with these bytes before its first and after its last boundary."""
    body = b"".join(
        f"--x\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + data + b"\r\n"
        for disposition, data in disposition_and_data
    )
    return {"content": before + body + b"--x--\r\n" + after, "headers": {"Content-Type": "multipart/form-data; boundary=x"}}


def test_a_body_is_a_form_or_is_judged_by_its_bytes(client: TestClient) -> None:
    expected = post(client).content
    assert post(client, field="image").content == expected
    for kind in ("image/jpeg", "text/plain", "application/x-www-form-urlencoded", "nonsense", ""):
        assert client.post("/segment", content=PHOTO, headers={"Content-Type": kind}).content == expected
    assert client.post("/segment", content=PHOTO, headers={"Content-Encoding": "identity"}).content == expected
    assert_problem(client.post("/segment", content=gzip.compress(PHOTO)), 415, "an archive", "unpack it")
    assert_problem(post(client, field="picture"), 400, "`file`", "picture")


@pytest.mark.parametrize("charset", ["undefined", "utf-8\x00", *long("punycode", "utf-7", "idna", "rot13", "base64", '"')])
def test_a_form_s_charset_changes_nothing(client: TestClient, charset: str) -> None:
    parameters = f"; boundary=x; charset={charset}"
    nameless = r'form-data; name="\ud800\x00\N{x}"; filename="\udfff.png"'
    for path in PATHS:
        assert client.post(path, **form(parameters)).status_code == 200
        assert_problem(client.post(path, **form(parameters, nameless)), 400, "no file in a field")


BROKEN_FORMS = {
    "no boundary": form(""),
    "another boundary": form("; boundary=y"),
    "not ASCII": form("; boundary=\xff"),
    "a quote": form('; boundary="'),
    "a quote inside": form('; boundary="a\\"b"'),
    "another charset": form("; boundary*=utf-8''%ff"),
    "long": form("; boundary=" + "x" * 300),
    "empty": form("; boundary=x") | {"content": b""},
    "many beginnings of parts": parts((PART, 200 * b"\r\n--xy")),
    "many options": form("; boundary=x", PART + 100 * "; a"),
    "no form": form("; boundary=x") | {"content": b"--y\r\nnonsense"},
    "no name": form("; boundary=x", "form-data"),
    "a broken name": form("; boundary=x", "form-data; name*=utf-8''%ff; filename=\"a\""),
}


def test_a_form_that_cannot_be_read_is_400(client: TestClient) -> None:
    for message in BROKEN_FORMS.values():
        for path in PATHS:
            assert_problem(client.post(path, **message), 400)
    assert_idle(service_of(client))


@pytest.mark.parametrize("size", [1, 5, 4096])
def test_a_parser_steps_through_no_blanks_after_a_boundary(client: TestClient, size: int) -> None:
    """It takes a microsecond for each, on the event loop."""
    message, blanks = parts(*[(PART, b"a")] * 100), b"\r\n--x" + b"\t " * 5000
    sound = message["content"]
    first = b"--x \r\n" + sound.removeprefix(b"--x\r\n")
    wrong = [(each, "blanks after a boundary") for each in (first, sound.replace(b"\r\n--x", blanks, 1))]
    for content, words in [(sound, "none of"), *wrong]:
        pieces = iter([content[start : start + size] for start in range(0, len(content), size)])
        answer = client.post("/segment/batch", content=pieces, headers=message["headers"])
        assert words in answer.text.splitlines()[0], answer.text


def test_a_file_s_name_is_told_without_folders(client: TestClient) -> None:
    for filename, name in (("a/b/Käfer.png", "Käfer.png"), (r"C:\a\cat.png", "cat.png"), ("a/", "image")):
        response = client.post("/segment?format=coco", files={"file": (filename, PHOTO)})
        assert response.json()["images"][0]["file_name"] == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a%22b.jpg", 'a"b.jpg'),  # browsers, curl and httpx
        (r"a\"b.jpg", 'a"b.jpg'),  # curl --form-escape
        ("c\\d.jpg", "c\\d.jpg"),  # browsers
        (r"c\\d.jpg", "c\\d.jpg"),  # curl and httpx
        (r"C:\dir\a.jpg", "a.jpg"),
        (r"\\host\dir\a.jpg", "a.jpg"),
        ("dir/e%2Ff.jpg", "e%2Ff.jpg"),
    ],
)
def test_marks_of_a_name_come_through_forms(client: TestClient, text: str, name: str) -> None:
    message = form("; boundary=x", f'form-data; name="file"; filename="{text}"')
    assert client.post("/segment?format=coco", **message).json()["images"][0]["file_name"] == name
    with ZipFile(BytesIO(client.post("/segment/batch?format=png", **message).content)) as archive:
        assert not any("\\" in member for member in archive.namelist())
        assert json.loads(archive.read("results.jsonl"))["file"] == name


def test_bytes_beyond_the_limit_are_413_by_their_announcement_or_as_they_come(serve: Serve) -> None:
    with serve(max_upload_mb=0.02) as client:
        assert_problem(client.post("/segment", content=bytes(20_001)), 413, "0.02 MB")
        assert_problem(client.post("/segment", content=iter([bytes(15_000)] * 2)), 413, "0.02 MB")
        assert_problem(post(client, bytes(20_000)), 413, "0.02 MB")
        message = parts((PART, b"tiny"), before=b"a" * 20_000 + b"\r\n")
        assert_problem(client.post("/segment", content=iter([message["content"]]), headers=message["headers"]), 413, "0.02 MB")
        assert post(client, encode(make_photo(50, 50), "JPEG")).status_code == 200
        assert_idle(service_of(client))


def test_fields_that_nobody_reads_are_few_and_short(client: TestClient) -> None:
    """They lie in memory, four bytes a character, and none of it is counted."""
    image = {"file": ("a.png", PHOTO)}
    for path in PATHS:
        assert client.post(path, files=image, data={f"f{i}": "x" * 4096 for i in range(40)}).status_code == 200
        assert_problem(client.post(path, files=image, data={"note": "x" * 4097}), 413, "note has more than 4096 bytes")
        assert_problem(
            client.post(path, files=image, data={f"f{i}": "" for i in range(41)}), 413, "more than 40 fields besides images"
        )
        # fields without a file's name count as files
        assert_problem(client.post(path, **parts(*[(NAMELESS, b"a")] * 101)), 413, "more than 100 images")
    assert_idle(service_of(client))


def test_a_file_in_another_field_is_passed_over_or_is_a_parameter_s_value(client: TestClient) -> None:
    for path in (*PATHS, "/segment?format=json"):
        other = {"photo": ("a.png", bytes(5000))}
        assert client.post(path, files=other | {"file": ("a.png", PHOTO)}).status_code == 200
        assert_problem(client.post(path, files=other), 400, "no file in a field `file` (or `image`)", "fields that came: photo")
    colors = {"format": ("a.txt", b"color"), "file": ("a.png", PHOTO)}
    assert client.post("/segment", files=colors).content == post(client, format="color").content
    assert_idle(service_of(client))


def test_a_form_that_is_cut_off_is_refused_whole(client: TestClient) -> None:
    """Its last image would else be left out, and nobody told."""
    whole = parts((PART, PHOTO), (PART, PHOTO))
    assert client.post("/segment/batch", **whole).text.count('"status":200') == 2
    cut = whole | {"content": whole["content"].removesuffix(b"--x--\r\n")}
    assert_problem(client.post("/segment/batch", **cut), 400, "its closing boundary is missing")
    assert_idle(service_of(client))


def test_an_image_in_a_field_without_a_file_s_name_is_taken(client: TestClient) -> None:
    """As `curl -F 'file=<photo.png'` and clients that leave the name out send it; it is far larger than a text may be."""
    photo = encode(make_photo(300, 400))
    assert len(photo) > 2 * 4096
    for field, tail in (("file", ""), ("image", "; filename*=utf-8''a.png"), ("file", "\r\nContent-Type: text/plain")):
        message = parts((f'form-data; name="{field}"{tail}', photo))
        assert client.post("/segment", **message).content == post(client, photo).content
        assert client.post("/segment/batch", **message).text.count('"status":200') == 1
    assert_idle(service_of(client))


def test_a_field_that_came_as_text_is_told_so(client: TestClient) -> None:
    """As where `@` is forgotten."""
    for text in ("photo.jpg", "Käfer.jpg"):
        for path in PATHS:
            answer = client.post(path, **parts((NAMELESS, text.encode())))
            assert_problem(answer, 400, "came as the text", "-F file=@photo.jpg", text)
    assert_idle(service_of(client))


def test_a_field_in_which_nothing_was_chosen_is_passed_over(client: TestClient) -> None:
    """As browsers send it, where a form has two and one is filled."""
    nothing, image = ('form-data; name="file"; filename=""', b""), ('form-data; name="image"; filename="a"', PHOTO)
    assert pixels(client.post("/segment", **parts(nothing, image)).content).shape == (90, 130)
    assert client.post("/segment/batch", **parts(nothing, image, nothing)).text.count("status") == 1
    for count in (1, 2):
        assert_problem(client.post("/segment", **parts(*[nothing] * count)), 400, "is empty (0 bytes)")


@pytest.mark.parametrize(
    "before",
    [
        b"\n\n--\r\n--xy\r\n\r\n",
        *long(b"\r\n", b"This is a form.\r\n", b"-" * 70_000 + b"\r\n"),
        b"--xx--\r\n" * 9000,
    ],
    ids=lambda before: ascii(before[:20]),
)
def test_what_stands_before_the_first_and_after_the_last_boundary_is_passed_over(client: TestClient, before: bytes) -> None:
    message = parts((PART, PHOTO), before=before, after=b"and more\r\n--x\r\n")
    content = message["content"]
    in_pieces = [content[start : start + 3] for start in range(0, len(before) + 200, 3)] if len(before) < 99 else [content]
    rest = content[len(b"".join(in_pieces)) :]
    for path in PATHS:
        assert client.post(path, **message).status_code == 200
        answer = client.post(path, content=iter([*in_pieces, rest]), headers=message["headers"])
        assert (answer.status_code, '"status":4' in answer.text) == (200, False)


def test_a_body_in_a_content_encoding_is_415_before_it_is_read(client: TestClient) -> None:
    for path, encoding in (("/segment", "gzip"), ("/segment/batch", "deflate, GZIP"), ("/segment?format=json", "x" * 200)):
        response = client.post(path, headers={"Content-Encoding": encoding}, files={"file": ("a.png", PHOTO)})
        assert_problem(response, 415, "content encoding", "without Content-Encoding")
        assert (response.headers["accept-encoding"], response.headers["connection"]) == ("identity", "close")
    assert_idle(service_of(client))
