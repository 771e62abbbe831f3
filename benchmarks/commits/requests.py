"""The requests that both services get: every parameter with every format, images, forms, heads, routes and broken requests."""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

import httpx
from PIL import Image

from benchmarks.commits.exchanges import LAST_TAG, Case, case
from benchmarks.harness.hostile import HOSTILE, hostile
from benchmarks.harness.image_files import file_of
from benchmarks.harness.images import PHOTOS, photo
from benchmarks.harness.malformed import CHUNKED, LAST, POST, REFUSED, ROUTES, TAKEN, bodies, garbage
from benchmarks.harness.serving import ROOT
from benchmarks.harness.traffic import BAD_QUERIES, HEADS, QUERIES, encoded_photos, small_files
from imaging.rendering import RENDERING, Rendering
from model.inference.parameters import PARAMETERS

SMALL = photo(PHOTOS[0], (200, 150))
SCENE = (ROOT / "docs" / "scenes" / "osbs.tif").read_bytes()
MIXTURES = 300  # requests of several parameters at once
BOUNDARY = {"Content-Type": "multipart/form-data; boundary=boundary"}
ACCEPTED = (
    "*/*", "image/*", "image/png", "image/jpeg", "image/webp", "application/json", "text/csv", "image/png;q=0.1, application/json",
    "image/png;q=0", "application/json;q=2", "IMAGE/PNG", "", "nonsense", "image/png;q=x",
)  # fmt: skip
ENCODINGS = ("gzip", "gzip;q=0", "*", "br", "identity")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "FOO")
ODD_PATHS = (
    "/nothing", "/segment/", "//segment", "/segment%0a", "/static/../app.py", "/static/nothing.js", "/docs/static/nothing",
    "/classes?model=nothing", "/info?model=narrow", "/classes?other=1", "/%00", "/a" * 600, "/ping", "/invocations", "/predict",
)  # fmt: skip
DOCUMENTS: tuple[Any, ...] = (
    {}, [], {"inputs": 1}, {"inputs": "@"}, {"inputs": "AAAA"}, {"inputs": "https://example.org/a.png"}, {"instances": []},
    {"inputs": "", "parameters": 3}, {"inputs": "", "parameters": {"format": "gif"}}, {"inputs": "", "other": 1},
    {"instances": [{"b64": "AAAA"}]}, {"instances": ["@"]}, {"instances": [1]}, {"instances": [{"content": "AAAA"}] * 101},
)  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What both services say of themselves: the parameters, paths and models of either, by their OpenAPI documents."""

    documents: tuple[dict[str, Any], ...]
    models: list[dict[str, Any]]

    @staticmethod
    def of(*urls: str, headers: dict[str, str]) -> Facts:
        def read(path: str) -> list[Any]:
            return [httpx.get(f"{url}{path}", headers=headers).raise_for_status().json() for url in urls]

        return Facts(tuple(read("/openapi.json")), read("/models")[-1])

    @property
    def paths(self) -> list[str]:
        return sorted({path for document in self.documents for path in document["paths"]})

    @cached_property
    def parameters(self) -> dict[str, list[str]]:
        """Values of each parameter, good and bad ones: of both documents, in their order."""
        found: dict[str, dict[str, None]] = {}
        for document in self.documents:
            for each in document["paths"]["/segment"]["post"]["parameters"]:
                found.setdefault(each["name"], {}).update(dict.fromkeys(self._values(each["schema"])))
        return {name: list(values) for name, values in found.items()}

    def _values(self, schema: dict[str, Any]) -> Iterator[str]:
        """Every named value; of a range its ends, its middle and what lies beyond; of a text examples or names of the model."""
        for kind in schema.get("anyOf", [schema]):
            yield from (str(value) for value in (*kind.get("enum", ()), *kind.get("examples", ())))
            if "maximum" in kind:
                low, high = kind["minimum"], kind["maximum"]
                yield from map(str, (low, high, (low + high) // 2 if kind["type"] == "integer" else (low + high) / 2, high + 1))
            yield from {"boolean": ("true", "false"), "number": ("0.1", "nan")}.get(kind.get("type"), ())
            if kind.get("type") == "string" and not {"enum", "const", "pattern"} & set(kind):
                classes = [entry["name"] for entry in self.models[0]["classes"]]
                yield from (*classes[1:4], ",".join(classes), "1,2", *(model["name"] for model in self.models))
            yield from [kind["const"]] if "const" in kind else []
        yield from ("", "nothing")


def parameter_cases(facts: Facts) -> Iterator[Case]:
    """Every value of every parameter with every format, that with polygons too; then mixtures of those that go together."""
    formats = [format for format in facts.parameters["format"] if format]
    bases = [{"format": format} for format in formats]
    bases += [{"format": format, "mask": mask} for format in RENDERING["mask"].formats for mask in ("polygons", "png")]
    queries = [{}, *bases, *({name: value} for name, values in facts.parameters.items() for value in values)]
    queries += [
        base | {name: value}
        for base in bases
        for name, values in facts.parameters.items()
        if name not in base
        for value in values
    ]
    source = random.Random(0)
    for _ in range(MIXTURES):
        query = dict(source.choice(bases))
        rendering = Rendering(**query)  # type: ignore[arg-type]
        names = [name for name in facts.parameters if name not in PARAMETERS or rendering.uses(name)]
        query |= {
            name: source.choice(facts.parameters[name][:-2] or [""]) for name in source.sample(names, source.randint(2, 5))
        }
        queries.append(query)
    for query in queries:
        image = SCENE if query.get("format") in ("geotiff", "geojson") else SMALL
        yield case("parameters", "POST", f"/segment?{urlencode(query)}", content=image)
    for text in (*BAD_QUERIES, "format=png&format=png", "formt=png", "format", "%ff=1", "&&", "format=%ff", "x" * 3000):
        yield case("parameters", "POST", f"/segment?{text}", content=SMALL)


def image_cases(_: Facts) -> Iterator[Case]:
    """Images of all encodings, modes, sizes and orientations, damaged and hostile files, and bytes that are no image."""
    files = {f"small {index}": data for index, data in enumerate(small_files())}
    with Image.open(io.BytesIO(SMALL)) as image:
        for orientation in range(10):
            exif = Image.Exif()
            exif[0x0112] = orientation
            files |= {f"{name}, orientation {orientation}": file_of(image, name, exif=exif) for name in ("JPEG", "PNG", "WEBP")}
    files |= {"scene": SCENE, "empty": b"", "text": b"nothing", "large": photo(PHOTOS[2], (2000, 1500))}
    for name, data in files.items():
        for query in ("format=png&side=native", "format=overlay", "format=json", "format=geotiff"):
            yield case("images", "POST", f"/segment?{query}", name, content=data)
    for index, data in enumerate(encoded_photos(quick=True)):
        for query in QUERIES:
            yield case("images", "POST", f"/segment?{query}", f"photo {index}", content=data)
    for kind in HOSTILE:
        yield case("hostile files", "POST", "/segment", kind, content=hostile(kind))


def form_cases(facts: Facts) -> Iterator[Case]:
    """Forms and JSON, whole and broken, to each route that takes images; batches in their three forms."""
    photos = [("file", (name, data)) for name, data in (("a.jpg", SMALL), ("b.tif", SCENE), ("a.jpg", b""), ("ü/c", b"text"))]
    for path in [path for path in facts.paths if "post" in facts.documents[-1]["paths"].get(path, {})]:
        for name, (field, fields) in {
            "file": ("file", {}), "image": ("image", {"format": "json", "mask": "png"}), "picture": ("picture", {}),
            "field that is wrong": ("file", {"format": "gif"}), "fields": ("file", {"other": "x", "alpha": "0.5"}),
        }.items():  # fmt: skip
            form = {"files": [(field, ("a.jpg", SMALL, "image/jpeg"))], "data": fields, "headers": BOUNDARY}
            yield case("forms", "POST", path, name, **form)
            yield case("forms", "POST", f"{path}?format=color", name, **form)
        for query in (
            "",
            "?format=hf",
            "?format=coco",
            "?format=coco&mask=polygons",
            "?format=png",
            "?format=overlay",
            "?format=x",
        ):
            yield case("batches", "POST", f"{path}{query}", files=photos, headers=BOUNDARY)
            yield case("batches", "POST", f"{path}{query}", "of one", files=photos[:1], headers=BOUNDARY)
        whole = httpx.Request("POST", "http://x", files=photos[:1], headers=BOUNDARY).read()
        for name, content in {
            "cut": whole[:-9],
            "no end": whole[:200],
            "none": b"",
            "text": b"abc",
            "wrong": whole[3:],
        }.items():
            yield case("forms", "POST", path, name, content=content, headers=BOUNDARY)
        image = base64.b64encode(SMALL).decode()
        good = [{"inputs": image, "parameters": {"format": format}} for format in ("png", "json", "color")]
        good += [{"instances": [{"b64": image}, image], "parameters": values} for values in ({}, {"format": "png"})]
        for number, document in enumerate((*DOCUMENTS, *good, {"inputs": f"data:image/jpeg;base64,{image}"})):
            yield case("JSON", "POST", path, f"document {number}", json=document)
        for content in (b"{", b'"', b"\xff\xfe{", json.dumps(DOCUMENTS[3]).encode("utf-16")):
            yield case("JSON", "POST", path, repr(content[:9]), content=content, headers={"Content-Type": "application/json"})
        for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data", "image/png; x=", "nonsense"):
            yield case("forms", "POST", path, kind, content=SMALL, headers={"Content-Type": kind})


def head_cases(_: Facts) -> Iterator[Case]:
    """`Accept`, `Accept-Encoding`, conditional requests and names of requests."""
    for query in ("", "?format=color", "?format=json"):
        path = f"/segment{query}"
        for name, values in {"Accept": ACCEPTED, "Accept-Encoding": ENCODINGS, "X-Request-ID": ("mine", "ü", "a b")}.items():
            for value in values:
                yield case("headers", "POST", path, f"{name}: {value}", content=SMALL, headers={name: value.encode("latin-1")})
        for name in ("If-None-Match", "If-Match"):
            for tag in (b'"%b"' % LAST_TAG, b'W/"%b"' % LAST_TAG, LAST_TAG, b"*", b'"a", "%b"' % LAST_TAG, b'"a"'):
                yield case("conditional", "POST", path, f"{name}: {tag.decode()}", content=SMALL, headers={name: tag})
                yield case("conditional", "GET", "/static/page.js", f"{name}: {tag.decode()}", headers={name: tag})
                yield case("conditional", "GET", "/static/page.js")  # its tag is the next one's


def route_cases(facts: Facts) -> Iterator[Case]:
    """Every route and file with every method, keys that fit or not, and pages of other origins."""
    files = [f"/static/{path.relative_to(ROOT / 'app' / 'static')}" for path in (ROOT / "app" / "static").rglob("*.*")]
    pages = ["/", "/docs", "/openapi.json", "/docs/static/swagger-ui.css"]
    yield from (case("routes", "GET", path) for path in sorted(files))
    for path in (*facts.paths, *pages, *ODD_PATHS, *(f"/segmentation{path}" for path in ("/", "/docs", "/segment"))):
        yield from (case("routes", method, path) for method in METHODS)
        for key in ("first-key", "second-key", "wrong", "", "ü"):
            value = key.encode()
            yield case("keys", "GET", path, f"key {key}", headers={"X-API-Key": value})
            yield case("keys", "POST", path, f"bearer {key}", headers={"Authorization": b"Bearer " + value}, content=SMALL)
        for origin in ("https://example.org", "https://other.org", "null"):
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
            yield case("origins", "OPTIONS", path, origin, headers=asked)
            yield case("origins", "GET", path, origin, headers={"Origin": origin})


def socket_cases(_: Facts) -> Iterator[Case]:
    """Heads and bodies that are malformed, ambiguous or unusual, in one piece or in several, and several requests at once."""
    whole = {**REFUSED, **{f"head {number}": head for number, head in enumerate(HEADS)}}
    whole |= {name: data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1) for name, data in TAKEN.items()}
    yield from (Case("sockets", name, (data,), ends=False) for name, data in whole.items())
    for name, body in bodies(SMALL).items():
        yield Case("sockets", name, (POST + body + LAST,))
        yield Case("sockets", f"{name}, in pieces", (POST, body[:-20], body[-20:] + LAST))
    for route in ROUTES[:2]:
        for number, pieces in enumerate(garbage(route)):
            yield Case("sockets", f"{route.decode()}, garbage {number}", pieces, ends=False)


def limit_cases(_: Facts) -> Iterator[Case]:
    """What is too large, too slow or too much for narrow limits."""
    for name, data in {"bytes": b"\xff\xd8" + bytes(200_000), "pixels": photo(PHOTOS[0], (500, 375)), "none": SMALL}.items():
        for path in ("/segment", "/segment/batch"):
            yield case("limits", "POST", f"{path}?side=native", name, content=data)
            yield case("limits", "POST", f"{path}?side=native", f"{name}, form", files={"file": data}, headers=BOUNDARY)
    yield case("limits", "POST", "/segment?side=2000&quality=high", "tiles", content=SMALL)
    yield Case("limits", "a body that stalls", (POST + b"Content-Length: 1000\r\n\r\nabc",))
    yield Case("limits", "chunks that stall", (CHUNKED + b"1\r\na\r\n",))


def few_cases(facts: Facts) -> Iterator[Case]:
    """One photo in every format, for networks whose tiles cost time."""
    data = photo(PHOTOS[1], (500, 375))
    for format in facts.parameters["format"]:
        yield case("default weights", "POST", f"/segment?format={format}", content=data)
    for query in ("?quality=high", "?side=native", "?format=json&mask=polygons&min_area=0.1%25"):
        yield case("default weights", "POST", f"/segment{query}", content=data)
    yield from (case("default weights", "GET", path) for path in ("/info", "/models", "/classes"))
