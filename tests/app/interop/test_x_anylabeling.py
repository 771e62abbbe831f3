"""X-AnyLabeling's contract: which models there are, the regions of a photo, and what the tool gets where there are none."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageOps
from pycocotools import mask as run_lengths

from benchmarks.harness.serving import ROOT
from tests.support.app.exchanges import PHOTO, assert_idle, assert_problem, connect, head, pixels, post, rejections, service_of
from tests.support.app.services import Serve, module_client, occupy
from tests.support.images import encode, exif_of, make_photo, open_image
from tests.support.polling import LONGEST_S
from tests.support.servers import over_http
from tests.support.training.label_tools import write_labelme_file
from tests.support.variants import long
from training.commands.import_labels import main as import_labels

CLIENT = """
import sys, types
from PyQt6.QtGui import QImage
from anylabeling import config
from anylabeling.services.auto_labeling.remote_server import RemoteServer
from anylabeling.views.labeling.utils.batch import save_auto_labeling_result
config.current_config_file, *photos = sys.argv[1:]
client = RemoteServer({"type": "remote_server", "display_name": "", "timeout": 60}, print)
client.set_model_id(next(iter(client.get_available_models())))
client.set_mask_fineness(0.0)
window = types.SimpleNamespace(output_dir=None, _config={"store_data": False})
for photo in photos:
    save_auto_labeling_result(window, photo, client.predict_shapes(QImage(photo), photo))
"""
"""The tool's own client labels photos, without its window, and its own function writes their files."""


client = module_client(max_upload_mb=2)


def data_url(data: bytes = PHOTO, kind: str = "image/jpeg") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def ask(client: TestClient | httpx.Client, data: bytes = PHOTO, **params: object) -> Any:
    """What the tool sends: its own parameters, and some that this service lacks."""
    own = {"conf_threshold": 0.0, "iou_threshold": 0.0, "epsilon_factor": 0.0, "marks": [{"type": "point"}], "text_prompt": "a"}
    model = next(iter(client.get("/v1/models").json()["data"]))
    return client.post("/v1/predict", json={"model": model, "image": data_url(data), "params": own | params})


def shapes_of(answer: Any) -> list[dict[str, Any]]:
    """The shapes of an answer that the tool takes."""
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert (document["success"], document["data"]["description"], document["data"]["replace"]) == (True, "", None)
    return list(document["data"]["shapes"])


def painted(shape: dict[str, Any], size: tuple[int, ...]) -> Any:
    """The pixels inside of a shape, bool."""
    return run_lengths.decode(run_lengths.frPyObjects([np.ravel(shape["points"]).tolist()], *size))[..., 0] == 1


def test_the_models_are_those_of_the_service(client: TestClient) -> None:
    (model,) = client.get("/models").json()
    entry = client.get("/v1/models").json()["data"]["narrow"]
    assert entry["classes"] == [label["name"] for label in model["classes"] if label["name"] != "background"]
    assert (entry["display_name"], entry["widgets"][0]) == ("narrow", {"name": "button_run"})
    assert client.get("/v1/models/narrow/info").json() == {"success": True, "data": entry}
    assert "must be one of" in client.get("/v1/models/x/info").json()["error"]["message"]


def test_shapes_are_the_regions_of_segment_and_parameters_those_of_the_query(client: TestClient) -> None:
    photo = encode(make_photo(200, 310, seed=3))

    def expected(**query: object) -> list[tuple[str, Any]]:
        coco = post(client, photo, format="coco", mask="polygons", tolerance=0, **query).json()
        names = {each["id"]: each["name"] for each in coco["categories"]}
        return [(names[each["category_id"]], each["segmentation"][0]) for each in coco["annotations"]]

    def shapes(**params: object) -> list[tuple[str, Any]]:
        return [(each["label"], np.ravel(each["points"]).tolist()) for each in shapes_of(ask(client, photo, **params))]

    confidence = pixels(post(client, photo, format="confidence").content) / 255
    for shape in shapes_of(ask(client, photo)):
        assert shape["score"] == pytest.approx(confidence[painted(shape, confidence.shape)].mean(), abs=1e-4)
    assert shapes() == shapes(filter_classes=[]) == shapes(filter_classes=None) == expected()
    assert shapes(filter_classes=["circle"]) == expected(classes="circle") != expected()
    assert shapes(conf_threshold=0.6) == expected(min_confidence=0.6) != expected()
    counts = [sum(len(points) for _, points in shapes(epsilon_factor=share)) for share in (0, 0.001, 0.01)]
    assert counts[0] > counts[1] > counts[2]


def test_coordinates_are_those_of_the_stored_pixels_which_the_tool_shows(client: TestClient) -> None:
    """X-AnyLabeling sends the file and shows it without EXIF's turn. The network sees it upright."""
    ids = {each["name"]: each["id"] for each in client.get("/classes").json()}
    for kind, orientation in product(("JPEG", "PNG", "WEBP", "TIFF"), range(1, 9)):
        photo = encode(make_photo(120, 70, seed=4), kind, exif=exif_of(orientation))
        stored = np.zeros((120, 70), np.uint8)
        for shape in shapes_of(ask(client, photo)):
            stored[painted(shape, stored.shape)] = ids[shape["label"]]
        tag = Image.fromarray(stored)
        tag.getexif()[0x0112] = orientation
        np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(tag)), pixels(post(client, photo).content))


def body(**changes: object) -> bytes:
    return json.dumps({"model": "narrow", "image": data_url(), "params": {}} | changes).encode()


FAILURES: dict[str, list[bytes]] = {
    "JSON": [b"", b"[]", b'{"model": "\xff"}', b"[" * 100_000, b'{"model":' * 900, b'{"a": [' + b"{}," * 10_000 + b"{}]}"],
    "2 MB": [b'{"image": "' + b"A" * 2_000_000 + b'"}'],
    "model": [body(model=value) for value in (None, "", ["narrow"], 7, "other", "n" * 5000)],
    "image: must": [body(image=value) for value in (None, "", 7, {}, [data_url()])],
    "image: neither": [body(image=value) for value in ("%%%", "é", "data:,x", "https://example.com/a.jpg")],
    "image": [body(image=data_url(data, "image/x")) for data in (b"text", PHOTO[:200])],
    "params": [body(params=value) for value in (None, 7, "x", [1])],
    "conf_threshold": [body(params={"conf_threshold": value}) for value in (2, -1, "x", [], {})],
    "epsilon_factor": [body(params={"epsilon_factor": value}) for value in (-1, 1e9, "x", [])],
    "filter_classes": [body(params={"filter_classes": value}) for value in (7, "", "circle", [7], [None])],
    "no class 'circle,square'": [body(params={"filter_classes": ["circle,square"]})],
}


def test_a_failure_is_an_answer_that_keeps_the_tool_s_labels_and_says_what_is_wrong(client: TestClient) -> None:
    """The tool shows an answer's description, and no error; without `replace` it would remove the photo's labels."""
    for words, contents in FAILURES.items():
        for content in contents:
            before = sum(rejections(client).values())
            answer = client.post("/v1/predict", content=content)
            success, error, data = answer.json().values()
            assert (answer.status_code, success, words in error["message"]) == (200, False, True), (content[:80], error)
            assert data == {"shapes": [], "description": error["message"], "replace": False}
            assert sum(rejections(client).values()) == before + 1
    assert_idle(service_of(client))


def test_keys_readiness_and_room_are_those_of_segment(serve: Serve) -> None:
    with serve(api_keys="lab:secret", max_queued_tiles=2) as client, over_http(client) as port:
        for method, path in (("GET", "/v1/models"), ("GET", "/v1/models/x/info"), ("POST", "/v1/predict")):
            assert_problem(client.request(method, path, headers={"Token": "wrong"}), 401)  # in the list, no label is at stake
        client.headers["Token"] = "secret"
        assert shapes_of(ask(client))
        with occupy(service_of(client), 2), connect(port) as connection:  # 503 before a byte of the body is read
            connection.sendall(head(1_000_000, "Token: secret", path="/v1/predict"))
            assert b" 503 " in connection.recv(100)
        service_of(client).draining = True
        assert_problem(ask(client), 503, "draining")


def label(url: str, photos: list[Path]) -> None:
    """Labels photos as the tool does, by what it sends and reads."""
    with httpx.Client(base_url=url, timeout=LONGEST_S) as client:
        for photo in photos:
            write_labelme_file(photo, open_image(data := photo.read_bytes()).size[::-1], shapes_of(ask(client, data)))


def label_by_the_tool(url: str, photos: list[Path]) -> None:
    if not (tool := shutil.which("xanylabeling")):
        pytest.skip("needs X-AnyLabeling, in an environment of its own: pipx install x-anylabeling-cvhub")
    python = Path(tool).read_text().splitlines()[0].removeprefix("#!")
    (settings := photos[0].parent.parent / "settings.yaml").write_text(f"remote_server_settings: {{server_url: '{url}'}}")
    environment = {"QT_QPA_PLATFORM": "offscreen", "HOME": str(settings.parent)}
    subprocess.run([python, "-c", CLIENT, settings, *photos], check=True, env=environment, timeout=LONGEST_S)


@pytest.mark.parametrize(("label_all", "count"), [(label, 3), *long((label_by_the_tool, 50))])
def test_a_labelled_folder_comes_back_through_the_import(
    serve: Serve, tmp_path: Path, label_all: Callable[[str, list[Path]], None], count: int
) -> None:
    """Parts of photos, some turned by EXIF: with `epsilon_factor` 0, masks are those of the service."""
    sources = [open_image(path.read_bytes()) for path in sorted((ROOT / "docs/photos").glob("*.jpg"))]
    photos = [tmp_path / f"photos/{index:02}.jpg" for index in range(count)]
    photos[0].parent.mkdir()
    for index, photo in enumerate(photos):
        part = sources[index % 5].crop((index, 2 * index, *sources[index % 5].size))
        part.convert("RGB").save(photo, quality=95, exif=exif_of(6 if index % 10 == 2 else 1))
    with serve(weights="voc-fcn8s-mobilenet-v2", tile="auto") as client, over_http(client) as port:
        label_all(f"http://127.0.0.1:{port}", photos)
        ids = {each["name"]: each["id"] for each in client.get("/classes").json()}
        expected = np.concatenate([pixels(post(client, photo.read_bytes()).content).ravel() for photo in photos])
    assert import_labels([str(tmp_path / "photos"), "--out", str(tmp_path / "data"), "--masks-orientation", "stored"]) == 0
    table = np.array([ids[each["name"]] for each in json.loads((tmp_path / "data/classes.json").read_text())["classes"]])
    masks = sorted((tmp_path / "data").rglob("masks/**/*.png"), key=lambda path: path.name)
    imported = np.concatenate([table[pixels(mask.read_bytes())].ravel() for mask in masks])
    both = np.count_nonzero((expected == imported) & (expected > 0))
    assert both / np.count_nonzero(expected | imported) >= 0.99
