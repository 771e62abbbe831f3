"""The requests that both services get: every parameter with every format, images, bodies, heads, routes, broken requests."""

from __future__ import annotations

import base64
import io
import random
import tomllib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx
from PIL import Image

from benchmarks.harness.hostile import HOSTILE, hostile
from benchmarks.harness.image_files import file_of
from benchmarks.harness.images import PHOTOS, photo
from benchmarks.harness.malformed import CHUNKED, LAST, POST, REFUSED, ROUTES, TAKEN, bodies, garbage
from benchmarks.harness.serving import ROOT
from benchmarks.harness.traffic import BAD_QUERIES, QUERIES, encoded_photos, small_files
from imaging.rendering import RENDERING, Rendering

TABLES: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
SMALL, SCENE = photo(PHOTOS[0], (200, 150)), (ROOT / "docs" / "scenes" / "osbs.tif").read_bytes()
MOST_BYTES = 2 << 20  # of a malformed request: how much of a longer one is read before its refusal is a matter of time
# hostile files that take about as long as a worker may: whether they are answered is a matter of the machine's load
AT_THE_LIMIT = {"png of exif", "png of exif as text", "webp of exif", "tiff of exif", "tiff of many fax rows in tiles"}
MIXTURES = 300  # requests of several parameters at once
FORM = {"Content-Type": "multipart/form-data; boundary=boundary"}
KEY = {"Authorization": "Bearer first-key"}
RANGED = {"boolean": ("true", "false"), "number": ("0.1", "nan")}


class Case(NamedTuple):
    """A request, as pieces that are sent apart. ends: whether the service closes the connection, rather than fall silent."""

    kind: str
    name: str
    pieces: tuple[bytes, ...]
    ends: bool = True


def case(kind: str, method: str, path: str, name: str = "", **content: object) -> Case:
    """A request whose answer ends the connection. content: as for `httpx.Request`, such as `headers`, `content`, `files`."""
    request = httpx.Request(method, f"http://localhost{path}", **content)  # type: ignore[arg-type]
    body = request.read()
    fields = [*request.headers.raw, (b"Connection", b"close")]
    target = path.encode() if path.isascii() else request.url.raw_path
    head = b"".join((b"%b %b HTTP/1.1\r\n" % (method.encode(), target), *(b"%b: %b\r\n" % each for each in fields), b"\r\n"))
    return Case(kind, f"{method} {path} {name}".strip(), (head + body,))


class Facts:
    """What the services say of themselves: all paths, and values of all parameters, of the one or the other."""

    def __init__(self, *urls: str) -> None:
        documents, self.models = (
            [httpx.get(f"{url}{path}", headers=KEY).json() for url in urls] for path in ("/openapi.json", "/models")
        )
        self.paths = {path: set(each["paths"][path]) for each in documents for path in each["paths"]}
        self._schemas = [each for document in documents for each in document["paths"]["/segment"]["post"]["parameters"]]

    @cached_property
    def parameters(self) -> dict[str, list[str]]:
        """Values of each parameter, good and bad ones."""
        values: dict[str, dict[str, None]] = {}
        for each in self._schemas:
            values.setdefault(each["name"], {}).update(dict.fromkeys(self._values(each["schema"])))
        return {name: list(each) for name, each in values.items()}

    def _values(self, schema: dict[str, Any]) -> Iterator[str]:
        """Every named value; of a range its ends, its middle and what lies beyond; of a text examples or names of the model."""
        for kind in schema.get("anyOf", [schema]):
            yield from map(str, (*kind.get("enum", ()), *kind.get("examples", ()), *filter(None, [kind.get("const")])))
            yield from RANGED.get(kind["type"], ())
            if "maximum" in kind:
                low, high = kind["minimum"], kind["maximum"]
                yield from map(str, (low, high, type(high)((low + high) / 2), high + 1))
            if kind["type"] == "string" and not {"enum", "const", "pattern"} & set(kind):
                classes = [entry["name"] for entry in self.models[0][0]["classes"]]
                yield from (*classes[1:4], ",".join(classes), "1,2", *(model["name"] for model in self.models[0]))
        yield from ("", "nothing")


def parameter_cases(facts: Facts) -> Iterator[Case]:
    """Every value of every parameter with every format, that with polygons too; then mixtures of those that go together."""
    values, source = facts.parameters, random.Random(0)
    bases: list[dict[str, str]] = [{}, *({"format": format} for format in values["format"])]
    bases += [{"format": format, "mask": mask} for format in RENDERING["mask"].formats for mask in ("polygons", "png")]
    queries = [base | {name: value} for base in bases for name in values if name not in base for value in values[name]] + bases
    for base in source.choices([base for base in bases[1:] if base["format"] in RENDERING["format"].choices], k=MIXTURES):
        names = [name for name in values if name not in base and Rendering(**base).uses(name)]  # type: ignore[arg-type]
        queries.append(base | {name: source.choice(values[name][:-2]) for name in source.sample(names, source.randint(2, 5))})
    for text in (*map(urlencode, queries), *BAD_QUERIES, "format=png&format=png", "formt=png", "format", "%ff=1", "&&"):
        yield case("parameters", "POST", f"/segment?{text}", content=SCENE if "format=geo" in text else SMALL)


def image_cases(_: Facts) -> Iterator[Case]:
    """Images of all encodings, modes, sizes and orientations, damaged and hostile files, and bytes that are no image."""
    files = {f"small {index}": data for index, data in enumerate(small_files())}
    with Image.open(io.BytesIO(SMALL)) as image:
        for orientation in range(10):
            exif = Image.Exif()
            exif[0x0112] = orientation
            files |= {f"{name}, orientation {orientation}": file_of(image, name, exif=exif) for name in ("JPEG", "PNG", "WEBP")}
    files |= {"scene": SCENE, "empty": b"", "text": b"nothing", "large": photo(PHOTOS[2], (2000, 1500))}
    queries = ("format=png&side=native", "format=overlay", "format=json", "format=geotiff")
    images = [(name, data, query) for name, data in files.items() for query in queries]
    images += [(f"photo {i}", data, query) for i, data in enumerate(encoded_photos(quick=True)) for query in QUERIES]
    yield from (case("images", "POST", f"/segment?{query}", name, content=data) for name, data, query in images)
    for kind in sorted(HOSTILE.keys() - AT_THE_LIMIT):
        yield case("hostile files", "POST", "/segment", kind, content=hostile(kind))


def body_cases(facts: Facts) -> Iterator[Case]:
    """Forms, JSON and other bodies, whole and broken, to each route that takes images; batches in their three forms."""
    photos = [("file", (name, data)) for name, data in (("a.jpg", SMALL), ("b.tif", SCENE), ("a.jpg", b""), ("ü/c", b"text"))]
    whole = httpx.Request("POST", "http://x", files=photos[:1], headers=FORM).read()
    damage = {"cut": whole[:-9], "no end": whole[:200], "none": b"", "text": b"abc", "wrong start": whole[3:]}
    for path in [path for path, methods in facts.paths.items() if "post" in methods]:
        for query in TABLES["bodies"]["queries"]:
            for count in (1, len(photos)):
                yield case("batches", "POST", path + query, f"of {count}", files=photos[:count], headers=FORM)
            for fields in TABLES["bodies"]["forms"]:
                data = {name: value for name, value in fields.items() if name != "photo"}
                files = [(fields["photo"], ("a.jpg", SMALL, "image/jpeg"))]
                yield case("forms", "POST", path + query, str(fields), files=files, data=data, headers=FORM)
        for text in TABLES["bodies"]["json"]:
            content = text.replace("IMAGE", base64.b64encode(SMALL).decode())
            yield case("JSON", "POST", path, text, content=content, headers={"Content-Type": "application/json"})
        yield from (case("forms", "POST", path, name, content=content, headers=FORM) for name, content in damage.items())
        for kind in TABLES["bodies"]["types"]:
            yield case("forms", "POST", path, kind, content=SMALL, headers={"Content-Type": kind})


def head_cases(_: Facts) -> Iterator[Case]:
    """Every head of the table with every kind of route, with a key and without: conditions, negotiation, other origins."""
    table = TABLES["heads"]
    for path in table["paths"]:
        for method in table["methods"]:
            for fields in table["fields"]:
                content = {"content": SMALL} if method == "POST" else {}
                yield case("heads", method, path, str(fields), headers=KEY | fields, **content)
                yield case("heads without a key", method, path, str(fields), headers=fields, **content)


def route_cases(facts: Facts) -> Iterator[Case]:
    """Every route, file and path that is none, with every method."""
    files = [f"/static/{path.name}" for path in sorted((ROOT / "app" / "static").glob("*.*"))]
    for path in (*sorted(facts.paths), *TABLES["routes"]["paths"], "/a" * 600):
        yield from (case("routes", method, path, headers=KEY) for method in TABLES["routes"]["methods"])
    yield from (case("routes", "GET", path) for path in files)


def socket_cases(_: Facts) -> Iterator[Case]:
    """Heads and bodies that are malformed, ambiguous or unusual, in one piece or in several, and several requests at once."""
    closing = {name: data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1) for name, data in TAKEN.items()}
    yield from (
        Case("sockets", name, (data,), ends=False) for name, data in (REFUSED | closing).items() if len(data) < MOST_BYTES
    )
    for name, body in bodies(SMALL).items():
        yield Case("sockets", name, (POST + body + LAST,))
        yield Case("sockets", f"{name}, in pieces", (POST, body[:-20], body[-20:] + LAST))
    for route in ROUTES[:2]:
        for number, pieces in enumerate(garbage(route)):
            yield Case("sockets", f"{route.decode()}, garbage {number}", pieces, ends=False)


def limit_cases(_: Facts) -> Iterator[Case]:
    """What is too large, too slow or too much for narrow limits."""
    for name, data in {"bytes": bytes(200_000), "pixels": photo(PHOTOS[0], (400, 300)), "none": SMALL}.items():
        yield case("limits", "POST", "/segment?side=native", name, content=data)
        yield case("limits", "POST", "/segment/batch", name, files=[("file", data)] * 2, headers=FORM)
    yield case("limits", "POST", "/segment?side=2000&quality=high", "tiles", content=SMALL)
    yield Case("limits", "a body that stalls", (POST + b"Content-Length: 1000\r\n\r\nabc",))
    yield Case("limits", "chunks that stall", (CHUNKED + b"1\r\na\r\n",))


def default_cases(facts: Facts) -> Iterator[Case]:
    """One photo in every format, for a network whose tiles cost time, and what is said of it."""
    queries = [*(f"format={format}" for format in facts.parameters["format"]), "quality=high", "side=native", *QUERIES]
    yield from (case("default weights", "POST", f"/segment?{query}", content=photo(PHOTOS[1], (500, 375))) for query in queries)
    yield from (case("default weights", "GET", path) for path in ("/info", "/models", "/classes"))


CASES = {
    "parameters": parameter_cases, "images": image_cases, "bodies": body_cases, "heads": head_cases, "routes": route_cases,
    "sockets": socket_cases, "limits": limit_cases, "default": default_cases,
}  # fmt: skip
