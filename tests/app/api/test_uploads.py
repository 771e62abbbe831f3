"""The image in a request's body: in a form, or raw; its name; forms that cannot be read; and the limits of its bytes."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.app.exchanges import PHOTO, assert_idle, assert_problem, pixels, post, service_of
from tests.support.app.services import Serve
from tests.support.images import encode, make_photo

PART = 'form-data; name="file"; filename="a"'


def form(parameters: str, disposition: str = PART) -> dict[str, Any]:
    """A form of one part, whose boundary is `x`."""
    body = f"--x\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + PHOTO + b"\r\n--x--\r\n"
    return {"content": body, "headers": {"Content-Type": f"multipart/form-data{parameters}".encode("latin-1")}}


@pytest.mark.parametrize("field", ["file", "image"])
def test_the_image_may_be_in_either_field(client: TestClient, field: str) -> None:
    assert pixels(post(client, field=field).content).shape == (90, 130)


@pytest.mark.parametrize(
    "content_type",
    ["image/jpeg", "application/octet-stream", "text/plain", "application/x-www-form-urlencoded", "nonsense", ""],
)
def test_a_raw_body_is_judged_by_its_bytes(client: TestClient, content_type: str) -> None:
    response = client.post("/segment", content=PHOTO, headers={"Content-Type": content_type})
    assert response.content == post(client).content


def test_a_body_that_is_as_it_is_may_say_so(client: TestClient) -> None:
    answer = client.post("/segment", content=PHOTO, headers={"Content-Encoding": "identity"})
    assert answer.content == post(client).content
    assert_problem(client.post("/segment", content=gzip.compress(PHOTO)), 415, "an archive", "unpack it")


def test_a_form_without_an_image_names_the_fields_that_came(client: TestClient) -> None:
    assert_problem(post(client, field="picture"), 400, "`file`", "picture")
    assert_problem(client.post("/segment", files={"x": ("a", b"b")}, data={"file": "text"}), 400, "file")


@pytest.mark.parametrize("path", ["/segment", "/segment/batch"])
@pytest.mark.parametrize(
    "charset", ["undefined", "punycode", "unicode_escape", "utf-7", "idna", "rot13", "base64", "nonsense", '"', "utf-8\x00"]
)
def test_a_form_s_charset_changes_nothing(client: TestClient, path: str, charset: str) -> None:
    parameters = f"; boundary=x; charset={charset}"
    assert client.post(path, **form(parameters)).status_code == 200
    nameless = r'form-data; name="\ud800\x00\N{x}"; filename="\udfff.png"'
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
    "no form": form("; boundary=x") | {"content": b"--y\r\nnonsense"},
    "no name": form("; boundary=x", "form-data"),
    "a broken name": form("; boundary=x", "form-data; name*=utf-8''%ff; filename=\"a\""),
}


@pytest.mark.parametrize("message", BROKEN_FORMS.values(), ids=BROKEN_FORMS)
@pytest.mark.parametrize("path", ["/segment", "/segment/batch"])
def test_a_form_that_cannot_be_read_is_400(client: TestClient, path: str, message: dict[str, Any]) -> None:
    assert_problem(client.post(path, **message), 400)
    assert_idle(service_of(client))


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("cat.png", "cat.png"),
        ("a/b/cat.png", "cat.png"),
        (r"C:\a\cat.png", "cat.png"),
        ("Käfer.png", "Käfer.png"),
        ("a/", "image"),
    ],
)
def test_a_file_s_name_is_told_without_folders(client: TestClient, filename: str, name: str) -> None:
    response = client.post("/segment?format=coco", files={"file": (filename, PHOTO)})
    assert response.json()["images"][0]["file_name"] == name


def test_an_empty_body_is_400(client: TestClient) -> None:
    assert_problem(client.post("/segment"), 400, "the image is empty (0 bytes); send an image as the field `file`")
    empty = post(client, b"")
    assert_problem(empty, 400, "the image is empty")
    assert (empty.json()["title"], empty.json()["type"]) == ("Empty image", "urn:problem-type:fcn-segment:empty-body")


def test_bytes_beyond_the_limit_are_413_by_their_announcement_or_as_they_come(serve: Serve) -> None:
    with serve(max_upload_mb=0.02) as client:
        assert_problem(client.post("/segment", content=bytes(20_001)), 413, "0.02 MB")
        assert_problem(client.post("/segment", content=iter([bytes(15_000)] * 2)), 413, "0.02 MB")
        assert_problem(post(client, bytes(20_000)), 413, "0.02 MB")
        assert post(client, encode(make_photo(50, 50), "JPEG")).status_code == 200
        assert_idle(service_of(client))


@pytest.mark.parametrize("path", ["/segment", "/segment/batch"])
def test_fields_that_nobody_reads_are_few_and_short(client: TestClient, path: str) -> None:
    """They lie in memory, four bytes a character, and none of it is counted."""
    image = {"file": ("a.png", PHOTO)}
    assert client.post(path, files=image, data={f"f{i}": "x" * 4096 for i in range(40)}).status_code == 200
    assert_problem(client.post(path, files=image, data={"note": "x" * 4097}), 400, "Part exceeded maximum size of 4KB")
    assert_problem(client.post(path, files=image, data={f"f{i}": "" for i in range(41)}), 400, "Too many fields")
    assert_idle(service_of(client))


def test_a_form_that_is_cut_off_is_refused_whole(client: TestClient) -> None:
    """Its last image would else be left out, and nobody told."""
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + PHOTO + b"\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert client.post("/segment/batch", content=part + part + b"--x--\r\n", headers=headers).text.count('"status":200') == 2
    assert_problem(client.post("/segment/batch", content=part + part, headers=headers), 400, "its closing boundary is missing")
    assert_idle(service_of(client))


def parts(*disposition_and_data: tuple[str, bytes], before: bytes = b"", after: bytes = b"") -> dict[str, Any]:
    """A form of these parts, with these bytes before its first and after its last boundary."""
    body = b"".join(
        f"--x\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + data + b"\r\n"
        for disposition, data in disposition_and_data
    )
    return {"content": before + body + b"--x--\r\n" + after, "headers": {"Content-Type": "multipart/form-data; boundary=x"}}


NAMELESS = 'form-data; name="file"'


@pytest.mark.parametrize("field", ["file", "image"])
@pytest.mark.parametrize(
    "tail", ["", "; filename*=utf-8''a.png", "\r\nContent-Type: text/plain"], ids=["none", "coded", "typed"]
)
def test_an_image_in_a_field_without_a_file_s_name_is_taken(client: TestClient, field: str, tail: str) -> None:
    """As `curl -F 'file=<photo.png'` and clients that leave the name out send it; it is far larger than a text may be."""
    photo = encode(make_photo(300, 400))
    assert len(photo) > 2 * 4096
    message = parts((f'form-data; name="{field}"{tail}', photo))
    response = client.post("/segment", **message)
    assert pixels(response.content).shape == (300, 400)
    assert response.content == post(client, photo).content
    assert client.post("/segment/batch", **message).text.count('"status":200') == 1
    assert_idle(service_of(client))


@pytest.mark.parametrize(
    "text", [b"photo.jpg", "Käfer.jpg".encode(), b"data:image/png;base64," + b"A" * 9000, "ä".encode() * 5000]
)
def test_a_field_that_came_as_text_is_told_so(client: TestClient, text: bytes) -> None:
    """As where `@` is forgotten."""
    message = parts((NAMELESS, text))
    assert_problem(
        client.post("/segment", **message), 400, "came as the text", "-F file=@photo.jpg", text[:9].decode(errors="ignore")
    )
    assert_problem(client.post("/segment/batch", **parts(*[(NAMELESS, text)] * 2)), 400, "came as the text")
    line = client.post("/segment/batch", **parts((NAMELESS, text), (PART, PHOTO))).text.splitlines()
    assert '"status":400' in line[0]
    assert "came as the text" in line[0]
    assert '"status":200' in line[1]
    assert_idle(service_of(client))


def test_a_field_in_which_nothing_was_chosen_is_passed_over(client: TestClient) -> None:
    """As browsers send it, where a form has two and one is filled."""
    nothing, image = ('form-data; name="file"; filename=""', b""), ('form-data; name="image"; filename="a"', PHOTO)
    assert pixels(client.post("/segment", **parts(nothing, image)).content).shape == (90, 130)
    assert client.post("/segment/batch", **parts(nothing, image, nothing)).text.count("status") == 1
    for count in (1, 2):
        assert_problem(client.post("/segment", **parts(*[nothing] * count)), 400, "is empty (0 bytes)")


def test_fields_without_a_file_s_name_count_as_files(client: TestClient) -> None:
    assert_problem(client.post("/segment", **parts(*[(NAMELESS, b"a")] * 101)), 413, "more than 100 images")
    assert_problem(client.post("/segment/batch", **parts(*[(NAMELESS, b"a")] * 101)), 413, "more than 100 images")


@pytest.mark.parametrize("path", ["/segment", "/segment/batch"])
@pytest.mark.parametrize(
    "before",
    [b"\r\n", b"This is a form.\r\n", b"\n\n--\r\n--xy\r\n\r\n", b"--x \r\n", b"-" * 70_000 + b"\r\n", b"--xx--\r\n" * 9000],
    ids=["empty line", "text", "nearly boundaries", "with a space", "long", "many"],
)
def test_what_stands_before_the_first_and_after_the_last_boundary_is_passed_over(
    client: TestClient, path: str, before: bytes
) -> None:
    message = parts((PART, PHOTO), before=before, after=b"and more\r\n--x\r\n")
    assert client.post(path, **message).status_code == 200
    content = message["content"]
    in_pieces = [content[start : start + 3] for start in range(0, len(before) + 200, 3)] if len(before) < 99 else [content]
    rest = content[len(b"".join(in_pieces)) :]
    answer = client.post(path, content=iter([*in_pieces, rest]), headers=message["headers"])
    assert (answer.status_code, '"status":4' in answer.text) == (200, False)


def test_bytes_before_the_first_boundary_count_for_the_limit(serve: Serve) -> None:
    with serve(max_upload_mb=0.05) as client:
        message = parts((PART, PHOTO), before=b"a" * 60_000 + b"\r\n")
        assert_problem(client.post("/segment", **message), 413, "0.05 MB")
        assert_problem(client.post("/segment", content=iter([message["content"]]), headers=message["headers"]), 413, "0.05 MB")
        assert_idle(service_of(client))


@pytest.mark.parametrize("path", ["/segment", "/segment/batch", "/segment?format=json"])
@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "x" * 200, "GZIP"])
def test_a_body_in_a_content_encoding_is_415_before_it_is_read(client: TestClient, path: str, encoding: str) -> None:
    for message in ({"files": {"file": ("a.png", PHOTO)}}, {"content": PHOTO}, {"json": {"inputs": "AAAA"}}):
        if path.startswith("/segment/batch") and "files" not in message:
            continue
        response = client.post(path, headers={"Content-Encoding": encoding}, **message)  # type: ignore[arg-type]
        assert_problem(response, 415, "content encoding", "without Content-Encoding")
        assert (response.headers["accept-encoding"], response.headers["connection"]) == ("identity", "close")
    assert_idle(service_of(client))
