"""`/jobs`: what is sent is segmented, kept for its owner alone, and removed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.serving.jobs.store import JobStore
from tests.support.app.exchanges import PHOTO, assert_problem, samples, service_of
from tests.support.app.jobs import result_of, status_of, submit, submit_photos
from tests.support.app.services import Serve, hold_model
from tests.support.images import encode, make_photo
from tests.support.imaging.samples import with_chunk
from tests.support.imaging.scenes import UTM, scene_file

PHOTOS = {
    "a.png": encode(make_photo(90, 120)),
    "b.jpg": encode(make_photo(60, 64), "JPEG"),
    "../../b.jpg": PHOTO,
    'a"b.png': PHOTO,
    "c\\d.png": PHOTO,
}
LOST = with_chunk(encode(make_photo(60, 64)), b"eXIf", b"MM", checksum=0)
SITE = 'LOCAL_CS["Building site",UNIT["metre",1]]'
KEYS = {"api_keys": "ann:one,bob:two,three"}


@pytest.mark.parametrize(
    ("output", "ending", "query", "words"),
    [
        ("tif", ".tif", {}, ()),
        ("cog", ".tif", {"overlap": "0.5", "blend": "hann"}, ("--cog", "--overlap", "0.5", "--blend", "hann")),
        ("tif", ".tif", {"format": "confidence"}, ("--format", "confidence")),
        ("gpkg", ".gpkg", {"min_confidence": "0.35"}, ("--min-confidence", "0.35")),
        ("geojson", ".geojson", {"min_area": "9m2", "gsd": "1"}, ("--min-area", "9m2", "--gsd", "1")),
        ("gpkg", ".gpkg", {"classes": "1,2", "topology": "shared", "bands": "3,2,1", "scale": "0,200"},
         ("--classes", "1,2", "--topology", "shared", "--bands", "3,2,1", "--scale", "0,200")),
    ],
)  # fmt: skip
def test_a_scene_gets_the_bytes_of_the_command(
    client: TestClient, scene: Path, bytes_of: Callable[..., bytes], output: str, ending: str, query: dict[str, str],
    words: tuple[str, ...],
) -> None:  # fmt: skip
    id = submit(client, scene.read_bytes(), output=output, **query)
    assert result_of(client, id) == bytes_of(scene, ending, *words)
    document = status_of(client, id)
    assert (document["processID"], document["progress"]) == ("segment", 100)
    assert document["created"] <= document["started"] <= document["finished"] <= document["updated"]
    assert [link["href"] for link in document["links"]] == [f"/jobs/{id}", f"/jobs/{id}/results"]


BOX = 448_030, 5_411_850, 448_100, 5_411_950
SHAPE = {"type": "Polygon", "coordinates": [[[BOX[x], BOX[y]] for x, y in ((0, 1), (2, 1), (2, 3), (0, 1))]]}
NAMED = {"type": "Feature", "geometry": SHAPE, "properties": {}, "crs": {"type": "name", "properties": {"name": UTM}}}


@pytest.mark.parametrize("field", [False, True])
def test_an_extent_gives_the_bytes_of_the_command(
    client: TestClient, scene: Path, bytes_of: Callable[..., bytes], tmp_path: Path, field: bool
) -> None:
    text = "\ufeff" + json.dumps(NAMED) + " " * 900_000 if field else f"{','.join(map(str, BOX))},{UTM}"
    (tmp_path / "area.geojson").write_text(text)
    form = {"data": {"extent": text}, "files": {"file": scene.read_bytes()}} if field else {"content": scene.read_bytes()}
    query = {"output": "tif", "format": "confidence"} | ({} if field else {"extent": text})
    response = client.post("/jobs", params=query, **form)
    expected = bytes_of(scene, ".tif", "--format", "confidence", "--extent", str(tmp_path / "area.geojson") if field else text)
    assert result_of(client, response.json()["jobID"]) == expected


@pytest.mark.parametrize(
    ("extent", "status", "words"),
    [
        ('{"type":' + "[" * 200_000, 422, "extent.geojson is no GeoJSON"),
        (
            '{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}',
            422,
            "the extent misses the file: in EPSG:4326",
        ),
        ("{" + " " * 1_000_000, 413, "the form's field extent has more than 1000000 bytes"),
        ("/etc/passwd", 422, "extent: must be GeoJSON, in a field of a form, or LEFT,BOTTOM,RIGHT,TOP,SYSTEM"),
        ("extent.geojson", 422, "extent: must be GeoJSON"),
        ("\t" * 900_000 + f"{','.join(map(str, BOX))},{UTM}", 422, "extent: must be GeoJSON"),  # the job's file would keep it
    ],
)
def test_an_extent_that_is_none_is_told_and_never_read_by_the_front(
    client: TestClient, scene: Path, monkeypatch: pytest.MonkeyPatch, extent: str, status: int, words: str
) -> None:
    read = list[str]()
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text, **options: read.append(str(text)[:9]) or loads(text, **options))
    response = client.post("/jobs", params={"output": "tif"}, data={"extent": extent}, files={"file": scene.read_bytes()})
    monkeypatch.undo()
    assert_problem(response, status, words)
    assert str(service_of(client).settings.jobs_dir) not in response.text
    assert extent[:9] not in read


@pytest.mark.parametrize(("output", "format"), [("zip", "png"), ("zip", "cutout"), ("coco", "coco"), ("jsonl", "json")])
def test_photos_get_the_bytes_of_a_batch_and_each_enters_a_thread_once(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, output: str, format: str
) -> None:
    threads, to_thread = list[object](), asyncio.to_thread

    async def noted(function: Callable[..., object], *args: object) -> object:
        if not str(function.__module__).startswith(("app.serving.jobs", "app.api")):  # which serve the whole job
            threads.append(function)
        return await to_thread(function, *args)

    files = [("file", item) for item in PHOTOS.items()]
    monkeypatch.setattr(asyncio, "to_thread", noted)
    batch = client.post("/segment/batch", params={"format": format}, files=files)
    assert len(threads) == len(PHOTOS) + 1, threads
    assert result_of(client, submit_photos(client, PHOTOS, output=output, format=format)) == batch.content
    assert len(threads) == 2 * len(PHOTOS) + 4, threads  # names, what is missing, and the result


def test_names_and_odd_files_come_through_a_job(client: TestClient) -> None:
    odd = {'a"b.jpg': encode(make_photo(60, 64), "JPEG")[:-2] + b"\0\0\1trailer\xff\xe8" * 9000, "c\\d.png": LOST}
    lines = [json.loads(line) for line in result_of(client, submit_photos(client, odd, output="jsonl")).splitlines()]
    assert [line["file"] for line in lines] == [*odd]
    assert "remark" not in lines[0]
    assert lines[1]["remark"].startswith("EXIF cannot be read")
    assert all("answer" in line for line in lines)


def test_parameters_are_fields_of_a_form_as_well(client: TestClient) -> None:
    files = {"image": ("a.png", PHOTO)}
    response = client.post("/jobs", data={"output": "jsonl", "mask": "array"}, files=files)
    assert b'"encoding":"array"' in result_of(client, response.json()["jobID"])
    response = client.post("/jobs", params={"output": "jsonl"}, data={"ouptut": "zip"}, files=files)
    assert_problem(response, 422, "did you mean")


def test_a_photo_that_is_not_read_has_a_problem_in_the_result(client: TestClient) -> None:
    result = result_of(client, submit_photos(client, {"a.png": PHOTO, "b.png": PHOTO[:300]}, output="jsonl")).splitlines()
    assert [b'"problem"' in line for line in result] == [False, True]
    assert b"damaged-image" in result[1]


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({}, 422, "give one of tif, cog, gpkg, geojson (a scene), zip, coco, jsonl (photos)"),
        ({"output": "png"}, 422, "must be one of tif, cog"),
        ({"output": "tif", "classes": "cat"}, 422, "classes: does not go with output=tif"),
        ({"output": "tif", "quality": "high"}, 422, "quality: does not go with output=tif"),
        ({"output": "gpkg", "classes": "unicorn"}, 422, "no class 'unicorn'"),
        ({"output": "gpkg", "min_area": "5"}, 422, "square metres, such as 5m2"),
        ({"output": "zip", "min_area": "5m2"}, 422, "5m2"),
        ({"output": "zip", "format": "json"}, 422, "format=json does not go with output=zip"),
        ({"output": "jsonl", "alpha": "0.5"}, 422, "alpha"),
        ({"output": "gpkg", "format": "confidence"}, 422, "format: does not go with output=gpkg"),
        ({"output": "tif", "format": "png"}, 422, "format=png is not for scenes; give format=geotiff or format=confidence"),
        ({"output": "cog", "format": "confidence", "min_confidence": "0.5"}, 422, "leave min_confidence out"),
        ({"output": "tif", "bands": "9"}, 422, "has no band 9"),
        ({"output": "tif", "bands": "1,2"}, 422, "the network sees 3 bands"),
        ({"output": "tif", "gsd": "0.001"}, 422, "give a gsd of at least"),
        ({"output": "tif", "scale": "5"}, 422, "scale"),
        ({"output": "tif", "bnads": "1"}, 422, "did you mean bands?"),
        ({"output": "tif", "model": "other"}, 422, "model must be one of"),
        ({"output": "tif,gpkg,tif"}, 422, "two of them would have the same content"),
        ({"output": "tif,cog"}, 422, "would have the same content"),
        *(
            ({"output": text}, 422, "of a scene also several, such as tif,gpkg")
            for text in ("zip,coco", "tif,zip", "tif,", "tif gpkg")
        ),
        ({"output": "gpkg,geojson", "format": "confidence"}, 422, "format: does not go with output=gpkg,geojson"),
        ({"output": "tif,gpkg", "quality": "high"}, 422, "quality: does not go with output=tif,gpkg"),
        ({"output": "tif,gpkg", "format": "confidence", "min_confidence": "0.5"}, 422, "leave min_confidence out"),
        ({"output": "tif,gpkg", "classes": "unicorn"}, 422, "no class 'unicorn'"),
    ],
)
def test_a_wrong_parameter_is_told_before_the_job(
    client: TestClient, scene: Path, query: dict[str, str], status: int, words: str
) -> None:
    count = jobs_in(client)
    assert_problem(client.post("/jobs", params=query, content=scene.read_bytes()), status, words)
    assert jobs_in(client) == count


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 400, "no file came"),
        (b"not a scene", 415, "the file is not read as a scene"),
        (PHOTO, 415, "it is PNG; send a GeoTIFF, or photos with output=zip, coco or jsonl"),
        (scene_file(make_photo(60, 90)[:, :, :2]), 415, "; give bands=1 for one as grey, or bands=1,2,2 for both"),
    ],
)
def test_a_file_that_is_no_scene_is_told_before_the_job(client: TestClient, content: bytes, status: int, words: str) -> None:
    response = client.post("/jobs", params={"output": "tif"}, content=content)
    assert_problem(response, status, words)
    assert str(jobs_folder(client)) not in response.text


def test_a_damaged_scene_is_told_before_the_job(client: TestClient, scene: Path) -> None:
    response = client.post("/jobs", params={"output": "tif"}, content=scene.read_bytes()[:500])
    assert response.status_code in (415, 422), response.text


def test_forms_that_are_broken_are_400(client: TestClient) -> None:
    count = jobs_in(client)
    kind, part = {"Content-Type": "multipart/form-data; boundary=b"}, b'--b\r\nContent-Disposition: form-data; name="file"'
    for headers, body in (
        ({"Content-Type": "multipart/form-data"}, b"--b--\r\n"),
        (kind, part + b'; filename="a"\r\n\r\nabc'),
        (kind, b"abc"),
        ({"Content-Type": "multipart/form-data; boundary=" + "X" * 900}, b"--X"),
        (kind, part + b"; a" * 100 + b"\r\n\r\nabc\r\n--b--"),
        (kind, part + b'; filename="a"\r\n\r\nabc\r\n--b \r\n\r\n\r\n--b--\r\n'),
    ):
        response = client.post("/jobs", params={"output": "zip"}, content=body, headers=headers)
        assert_problem(response, 400, "the form ")
    many = part + b'; filename="a"\r\n\r\n' + b"\r\n--bx" * 11_000
    assert_problem(client.post("/jobs", params={"output": "zip"}, content=many, headers=kind), 413, "more than 10000 files")
    text = part + b"\r\n\r\nabc\r\n--b--\r\n"
    assert_problem(client.post("/jobs", params={"output": "zip"}, content=text, headers=kind), 400, "came as the text")
    assert_problem(client.post("/jobs", params={"output": "zip"}, files={"file": ("a", b"text")}), 415, "none of the files")
    two = [("file", (name, PHOTO)) for name in ("a", "b")]
    assert_problem(client.post("/jobs", params={"output": "tif"}, files=two), 400, "output=tif takes one scene, got 2 files")
    assert_problem(client.post("/jobs", params={"output": "zip"}, data={"a": "b"}, files={"other": ("a", b"x")}), 400)
    empty = part.replace(b"file", b"image") + b'; filename=""\r\n\r\n\r\n'
    not_chosen = empty + part + b'; filename="a"\r\n\r\n' + PHOTO + b"\r\n" + empty + b"--b--\r\n"
    assert_problem(client.post("/jobs", params={"output": "tif"}, content=not_chosen, headers=kind), 415, "it is PNG")
    other = {"file": ("a", PHOTO), "photo": ("b", PHOTO)}
    assert_problem(client.post("/jobs", params={"output": "zip"}, files=other), 400, "field photo has a file", "-F file=@")
    assert jobs_in(client) == count


def test_a_result_comes_in_parts_if_it_has_them_and_has_an_entity_tag(client: TestClient) -> None:
    id = submit_photos(client, PHOTOS, output="zip")
    whole, address = result_of(client, id), f"/jobs/{id}/results"
    part = client.get(address, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole[10:20])
    for tags in (part.headers["etag"], f'"a", W/{part.headers["etag"]}', "*"):
        assert client.get(address, headers={"If-None-Match": tags}).status_code == 304
    last = client.get(address, headers={"Range": "bytes=-5"})
    assert (last.status_code, last.content) == (206, whole[-5:])
    assert part.headers["content-disposition"].startswith("attachment;")
    assert part.headers["x-content-type-options"] == "nosniff"
    beyond = client.get(address, headers={"Range": f"bytes={len(whole)}-"})
    assert_problem(beyond, 416, f"is not within the file, which has {len(whole)} bytes")
    assert beyond.headers["content-range"] == f"bytes */{len(whole)}"
    for value in ("bytes=5-3", "bytes=a-b", "bytes="):
        assert_problem(client.get(address, headers={"Range": value}), 400, "Range: bytes=")
    for value in ("rows=1-2", "1-2"):  # has no meaning here
        assert client.get(address, headers={"Range": value}).content == whole


def test_the_head_of_a_result_costs_no_reading(serve: Serve, tmp_path: Path) -> None:
    with serve(jobs_dir=tmp_path) as client:
        id = submit_photos(client, PHOTOS, output="zip")
        result_of(client, id)
        os.truncate(tmp_path / id / "result.zip", 1 << 40)  # bytes that take minutes to read, and are above the limit
        assert client.head(f"/jobs/{id}/results").headers["content-length"] == str(1 << 40)


def test_a_form_may_have_a_preamble(client: TestClient) -> None:
    part = b'Content-Disposition: form-data; name="file"; filename="a.png"\r\nX-Other: file\r\n\r\n' + PHOTO
    body = b"This is a form.\r\n--b\r\n" + part + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = client.post("/jobs", params={"output": "jsonl"}, content=body, headers=headers)
    assert b'"file":"a.png"' in result_of(client, response.json()["jobID"])


def test_an_open_job_has_no_result_and_is_gone_once_it_is_dismissed(client: TestClient) -> None:
    with hold_model(service_of(client)):
        id = submit_photos(client, PHOTOS, output="zip")
        assert_problem(client.get(f"/jobs/{id}/results"), 404, "and has no result")
        response = client.delete(f"/jobs/{id}")
    assert (response.status_code, response.json()["status"]) == (200, "dismissed")
    assert_problem(client.get(f"/jobs/{id}"), 404, "there is no job")
    assert not (jobs_folder(client) / id).exists()


def test_metrics_count_jobs(client: TestClient) -> None:
    result_of(client, submit_photos(client, PHOTOS, output="zip"))
    values = {(each.name, *each.labels.values()): each.value for each in samples(client)}
    assert values["segment_jobs", "successful"] >= 1
    assert values["segment_jobs", "running"] == values["segment_jobs_wait_seconds",] == 0
    assert 0 < values["segment_jobs_bytes",] < values["segment_jobs_max_bytes",]


def test_without_a_folder_there_are_no_jobs(serve: Serve) -> None:
    with serve() as client:
        for path in ("/jobs", "/jobs/0", "/jobs/0/results"):
            assert_problem(client.get(path), 404, "SEGMENT_JOBS_DIR")
        assert_problem(client.post("/jobs", content=PHOTO), 404, "SEGMENT_JOBS_DIR")
        assert client.get("/info").json()["job_outputs"] == []


def test_without_the_extra_for_scenes_jobs_are_of_photos(serve: Serve, scene: Path, tmp_path: Path) -> None:
    outputs = ["zip", "coco", "jsonl"]
    with serve(jobs_dir=tmp_path) as client, pytest.MonkeyPatch.context() as patch:
        assert client.get("/info").json()["job_outputs"] == ["tif", "cog", "gpkg", "geojson", *outputs]
        patch.setattr("app.serving.jobs.job.find_spec", lambda name: None)
        response = client.post("/jobs", params={"output": "tif"}, content=scene.read_bytes())
        assert_problem(response, 422, "needs rasterio and pyogrio, which the service lacks; give one of zip, coco, jsonl")
        assert client.get("/info").json()["job_outputs"] == outputs
        assert 'data-outputs="zip coco jsonl"' in client.get("/").text


@pytest.mark.parametrize(
    ("system", "output", "words"),
    [
        (None, "geojson", "no coordinate system, which geojson, gpkg, geotiff, gsd and extent need"),
        (SITE, "geojson", "the system Building site of the scene has no relation to the Earth; ask for gpkg or tif"),
        (SITE, "gpkg", ""),
    ],
)
def test_a_scene_without_a_place_on_earth_is_told_what_works(
    client: TestClient, system: str | None, output: str, words: str
) -> None:
    scene = scene_file(make_photo(60, 90), crs=system)
    response = client.post("/jobs", params={"output": output}, content=scene)
    if words:
        assert_problem(response, 415, words)
    else:
        assert response.status_code == 201, response.text


@pytest.mark.parametrize("name", ["README.md", "README.md/jobs"])
def test_a_folder_for_jobs_that_cannot_be_made_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "README.md").touch()
    with pytest.raises(OSError, match=r"^must be a folder that the service can make and write to, got .*README.md"):
        JobStore(tmp_path / name, 1e9, 1)


def test_a_job_is_that_of_its_key(serve: Serve, tmp_path: Path) -> None:
    ann, bob, third = ({"X-API-Key": key} for key in ("one", "bob:two", "three"))
    with serve(jobs_dir=tmp_path, **KEYS) as client:
        assert client.post("/jobs", params={"output": "zip"}, content=PHOTO).status_code == 401
        ids = [client.post("/jobs", params={"output": "zip"}, content=PHOTO, headers=ann).json()["jobID"] for _ in range(3)]
        for method, path in (("GET", ""), ("GET", "/results"), ("DELETE", "")):
            assert_problem(client.request(method, f"/jobs/{ids[0]}{path}", headers=bob), 404, "there is no job")
            assert client.request(method, f"/jobs/{ids[0]}{path}").status_code == 401
        first = client.get("/jobs", params={"limit": 2}, headers=ann).json()
        assert [job["jobID"] for job in first["jobs"]] == ids[:0:-1]
        rest = client.get(first["links"][1]["href"], headers=ann).json()
        assert [job["jobID"] for job in rest["jobs"]] == ids[:1]
        (itself,) = rest["links"]
        assert (itself["rel"], client.get(itself["href"], headers=ann).json()) == ("self", rest)
        for other in (bob, third):
            assert client.get("/jobs", headers=other).json()["jobs"] == []


def test_the_reference_lists_segmentation_before_jobs(client: TestClient) -> None:
    tags = [routes["post"]["tags"] for routes in client.get("/openapi.json").json()["paths"].values() if "post" in routes]
    assert tags[:3] == [["segmentation"], ["segmentation"], ["jobs"]]


def test_nobody_lists_jobs_without_keys(client: TestClient) -> None:
    assert_problem(client.get("/jobs"), 404, "a key of their own")


def jobs_folder(client: TestClient) -> Path:
    folder: Path = client.app.state.service.settings.jobs_dir  # type: ignore[attr-defined]
    return folder


def jobs_in(client: TestClient) -> int:
    return sum(path.is_dir() for path in jobs_folder(client).iterdir())
