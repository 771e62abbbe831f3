"""Forms of every shape, whole and broken, and raw bodies: an answer as documented, or a problem, and nothing is left behind."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings

from tests.support.app.openapi import LONG, QUICK, STATUSES, assert_documented
from tests.support.app.services import module_client
from tests.support.images import encode, make_photo
from tests.support.variants import long

FILES = [encode(make_photo(20, 30), format) for format in ("PNG", "JPEG", "GIF")]
BOUNDARY = b"x-y"

printable = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=12).map(str.encode)
contents = st.one_of(
    st.sampled_from(FILES),
    st.builds(lambda data, end: data[:end], st.sampled_from(FILES), st.integers(0, 300)),
    st.binary(max_size=60),
    st.sampled_from([b"\r\n--x-y", b"--x-y--", b"\r\n", b"\x00" * 2000]),
)
names = st.one_of(st.sampled_from([b"file", b"image", b"FILE", b"file[]", b""]), printable)
dispositions = st.one_of(
    st.builds(lambda name, file: b'form-data; name="%s"; filename="%s"' % (name, file), names, printable),
    st.builds(b'form-data; name="%s"'.__mod__, names),
    st.builds(lambda name, file: b"form-data; name=%s; filename*=%s" % (name, file), names, printable),
    printable,
)
lines = st.one_of(
    dispositions.map(b"Content-Disposition: ".__add__),
    st.sampled_from(
        [
            b"Content-Type: image/png",
            b"Content-Type: multipart/mixed; boundary=z",
            b"Content-Transfer-Encoding: base64",
            b":",
            b" a: b",
        ]
    ),
    printable,
)


@st.composite
def parts(draw: st.DrawFn) -> bytes:
    usual = draw(dispositions.map(b"Content-Disposition: ".__add__))
    head = [usual, *draw(st.lists(lines, max_size=2))]
    return b"--%s\r\n%s\r\n\r\n%s\r\n" % (BOUNDARY, b"\r\n".join(head), draw(contents))


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A form, in half of the cases with a few bytes taken out, repeated, or put in."""
    data = b"".join(draw(st.lists(parts(), max_size=4))) + draw(st.sampled_from([b"--x-y--\r\n", b"--x-y--", b"", b"--x-y"]))
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 80)))
        data = data[:start] + draw(st.sampled_from([b"", data[start:end] * 2, b"\r\n", b"--x-y", b"\x00"])) + data[end:]
    return data


types = st.one_of(
    st.just(b"multipart/form-data; boundary=x-y"),
    st.sampled_from(
        [b'multipart/form-data; boundary="x-y"', b"multipart/form-data", b"multipart/mixed; boundary=x-y", b"image/png"]
    ),
    st.builds(b"multipart/form-data; boundary=x-y; %s".__mod__, printable),
    st.builds(b"multipart/form-data; boundary=%s".__mod__, printable),
    st.sampled_from(["undefined", "punycode", "unicode_escape", "utf-7", "rot13", "utf-16"]).map(
        lambda charset: f"multipart/form-data; boundary=x-y; charset={charset}".encode()
    ),
)


client = module_client(max_queued_tiles=16)


@pytest.mark.parametrize("examples", [QUICK, *long(LONG)], ids=["few", "many"])
def test_any_form_is_answered(client: TestClient, examples: settings) -> None:
    @examples
    @given(body=bodies(), kind=types, position=st.integers(0, 2000))
    def ask(body: bytes, kind: bytes, position: int) -> None:
        """The body in two pieces, cut anywhere."""
        for path in STATUSES:
            pieces = iter([body[: position % (len(body) + 1)], body[position % (len(body) + 1) :]])
            assert_documented(client.post(path, content=pieces, headers={"Content-Type": kind.strip()}), path)

    ask()
