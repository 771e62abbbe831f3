"""Requests whose head or framing is invalid, ambiguous or unusual, as bytes on a connection."""

from __future__ import annotations

from collections.abc import Iterator

GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /segment HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
NO_CHUNKS = b"\r\n\r\n0\r\n\r\n"
NEXT = GET + b"\r\n"  # what a smuggled request would be
LAST = GET + b"Connection: close\r\n\r\n"

LENGTHS = [b"3\r\nContent-Length: 4", b"3, 4", b"+3", b"-3", b"0x3", b"3 3", b"", b"9" * 30, b"1_0", "\u0663".encode()]
ENCODINGS = [
    b"chunked, identity", b"identity", b"identity, chunked", b"gzip, chunked", b"xchunked", b"chunkedx", b"chunked,",
    b",chunked", b"chunked, chunked", b"chunked\r\nTransfer-Encoding: chunked", b"chunked\r\nTransfer-Encoding: identity",
    b"identity\r\nTransfer-Encoding: chunked", b"chunked;q=1", b"\x0bchunked", b'"chunked"', b"",
    b"chunked\r\nContent-Length: 5",
]  # fmt: skip
CHUNKS = [
    b"+1\r\na", b"-1\r\na", b"0x1\r\na", b" 1\r\na", b"1_0\r\na", b"\r\na", b"g\r\na", b"1\na", b"1\r\nab", b"1\r\nabc",
    b"1;a\nb\r\na",
    b'1;a="\r\nb"\r\na', b"1 ;a=b\r\na", b"1;" + b"e" * (1 << 22) + b"\r\na",
]  # fmt: skip
TRAILERS = [b"bad trailer", b": x", b"X : y", b"X: \x00", b"X: " + b"b" * (1 << 22), b"\r\n".join([b"a: b"] * 600_000)]
FIELDS = [
    b"Content-Length : 3", b"Content-Length\t: 3", b"Transfer-Encoding : chunked", b"X Y: a", b": a", b"X(: a", b"X\xff: a",
    b'"X": a',
    b"XY", b"X\x00: a", b"X: a\x00b", b"X: a\rb", b"X: a\rY: b", b"Host: x", b"Host: y", b"X: " + b"a" * (1 << 20),
    b"X: " + b"a" * 100_000,
]  # fmt: skip
LINES = [
    b"G@T /health/live HTTP/1.1", b"G(T /health/live HTTP/1.1", b" /health/live HTTP/1.1", b" GET /health/live HTTP/1.1",
    b"GET /health/live HTTP/1.10", b"GET /health/live HTTP/01.1", b"GET /health/live http/1.1", b"GET /health/live HTTPS/1.1",
    b"GET /health/live HTTP/1,1", b"GET /health/live", b"GET /health/live HTTP/1.1 ", b"GET\t/health/live\tHTTP/1.1",
    b"GET /health/live x HTTP/1.1", b"GET /health/live\xff HTTP/1.1", b"GET /health/live\x00 HTTP/1.1", b"GET /?\xff HTTP/1.1",
    b"GET /health/live\x7f HTTP/1.1", b"GET  HTTP/1.1", b"GET /health/live HTTP/1.1\r",
    b"GET /health/live HTTP/1.1\r\n Host: localhost",
    b"DESCRIBE /health/live RTSP/1.0", b"SOURCE /health/live ICE/1.0", b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2", b"\x16\x03\x01\x02\x00\x01",
]  # fmt: skip
REFUSED = {
    **{f"length {value[:30]!r}": POST + b"Content-Length: " + value + b"\r\n\r\nabc" + NEXT for value in LENGTHS},
    **{f"encoding {value!r}": POST + b"Transfer-Encoding: " + value + NO_CHUNKS + NEXT for value in ENCODINGS},
    **{f"chunk {chunk[:20]!r}": CHUNKED + chunk + b"\r\n0\r\n\r\n" + NEXT for chunk in CHUNKS},
    "chunks that end with line feeds": CHUNKED + b"1\na\n0\n\n" + NEXT,
    **{f"trailer {line[:20]!r}": CHUNKED + b"1\r\na\r\n0\r\n" + line + b"\r\n\r\n" + NEXT for line in TRAILERS},
    **{f"field {field[:20]!r}": GET + field + b"\r\n\r\n" for field in FIELDS},
    **{f"line {line[:40]!r}": line + b"\r\nHost: localhost\r\n\r\n" for line in LINES},
    "no host": b"GET /health/live HTTP/1.1\r\n\r\n",
    "many fields": GET + b"a: b\r\n" * 175_000 + b"\r\n",
    "101 fields": GET + b"a: b\r\n" * 101 + b"\r\n",
    "line feeds alone": b"\r\n" * (1 << 19),
    "no line": b"A" * (1 << 20),
}
TAKEN = {
    "plain": NEXT,
    "no host in 1.0": b"GET /health/live HTTP/1.0\r\n\r\n",
    "a field of 20 kB": GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
    "90 fields": GET + b"a: b\r\n" * 90 + b"\r\n",
    "high bytes": GET + b"X: \xff\r\n\r\n",
    "a query of odd characters": b'GET /health/live?[x]{}|^`\\"<>%00%ff HTTP/1.1\r\nHost: localhost\r\n\r\n',
}


def bodies(photo: bytes) -> dict[str, bytes]:
    """The headers and the body of a POST of this photo, framed in every valid way."""
    chunk = b"\r\n\r\n%x\r\n" % len(photo) + photo
    return {
        "length": b"Content-Length: %d\r\n\r\n" % len(photo) + photo,
        "length with zeros": b"Content-Length: 000%d\r\n\r\n" % len(photo) + photo,
        "chunked": b"Transfer-Encoding: Chunked" + chunk + b"\r\n0\r\n\r\n",
        "extensions": b'Transfer-Encoding: chunked\r\n\r\n%x;a=b;c="d;e"\r\n' % len(photo) + photo + b"\r\n0;f\r\n\r\n",
        "trailers": b"Transfer-Encoding: chunked" + chunk + b"\r\n0\r\nX-Request-ID: trailer\r\n\r\n",
        "an upgrade": b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(photo) + photo,
    }


IN_CHUNKS = b"%b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
WITH_LENGTH = b"%b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
PLAIN = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"
ROUTES = [b"POST /segment", b"GET /health", b"POST /nothing", b"GET /static/page.js"]
OTHERS = [
    b"POST /segment/batch", b"GET /openapi.json", b"POST /health", b"DELETE /segment", b"OPTIONS /segment", b"HEAD /",
    b"POST /segment?format=wrong", b"FOO /segment",
]  # fmt: skip
BAD_CHUNKS = [
    b"+1\r\na\r\n", b"-1\r\n", b"0x1\r\na\r\n", b"1_0\r\n", b"g\r\n", b"1 \r\na\r\n", b"1\r\nabc\r\n0\r\n\r\n",
    b"1" * 30 + b"\r\n", b"\r\n\r\n", b"1;" + b"e" * 40_000, b"\x00\xff\r\n", b"0\r\nbad trailer\r\n\r\n",
    b"0\r\n: x\r\n\r\n", b"1\r\na\r\n0\r\nContent-Length: 5 5\r\n\x00\r\n",
]  # fmt: skip
PIPELINED = [b"garbage\r\n\r\n", b"\x00" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01"]


def garbage(route: bytes) -> Iterator[tuple[bytes, ...]]:
    """What is sent, in pieces that arrive apart."""
    for bad in BAD_CHUNKS:
        yield (IN_CHUNKS % route + bad,)
        yield IN_CHUNKS % route, bad
        yield IN_CHUNKS % route + b"1\r\na\r\n", bad
    for rest in PIPELINED:
        yield (PLAIN % b"/health" + rest,)
        yield PLAIN % b"/static/page.js", rest
        yield (WITH_LENGTH % (route, 3) + b"abc" + rest,)
        yield (WITH_LENGTH % (route, 3) + b"abc" + PLAIN % b"/health" + rest,)
    yield WITH_LENGTH % (route, 100) + b"abc", b""
    yield IN_CHUNKS % route + b"5\r\nab", b""
    yield (WITH_LENGTH % (route, 5) + b"abcdefgh",)
    yield (b"%b HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\n" % route,)
    yield (b"%b HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\n" % route,)
    yield (b"%b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\n" % route,)
    yield (b"%b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x00" % route,)
