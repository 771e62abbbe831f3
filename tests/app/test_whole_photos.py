"""A converted network that takes each photo as one tile: its answers, and the photos that it does not take."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cli.main import main as segment
from model.inference.tiling import WHOLE
from tests.support.app.exchanges import assert_problem, post
from tests.support.app.services import Serve
from tests.support.images import encode, make_photo
from tests.support.imaging.scenes import write_scene
from tests.support.training.conversions import converted
from tests.support.training.foreign_networks import foreign_network

SIZE = (483, 648)
PHOTO = encode(make_photo(*SIZE))
LARGER = encode(make_photo(500, 1300))
Curve = tuple[tuple[int, int, float], ...]
CHEAP = (76_800, 1 << 20, 0.1), (614_400, 1 << 21, 0.11)


@pytest.fixture
def whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Curve], str]:
    """A converted file that takes multiples of 8, whose photos cost what a curve says."""

    def convert(curve: Curve) -> str:
        patched = "training.converting.conversion.measured"
        monkeypatch.setattr(patched, lambda _, whole, memory_mb: replace(whole, curve=curve))
        converted(foreign_network(tmp_path / "net.onnx", stride=8), tile=WHOLE)
        return str(tmp_path / "converted.onnx")

    return convert


@pytest.mark.parametrize("tile", ["auto", "whole"])
def test_a_photo_is_one_tile(serve: Serve, whole_file: Callable[[Curve], str], tmp_path: Path, tile: str) -> None:
    weights = whole_file(CHEAP)
    (tmp_path / "photo.png").write_bytes(PHOTO)
    with serve(weights=weights, tile=tile) as client:
        answer = post(client, PHOTO, side="native", format="json")
        assert answer.status_code == 200, answer.text
        assert answer.json()["tiling"] == {
            "side": [483, 648], "tile": [488, 648], "overlap": 0.0, "blend": "mean", "tiles": 1, "whole": True,
            "quality": "standard",
        }  # fmt: skip
        high = post(client, PHOTO, side="native", format="json", quality="high").json()["tiling"]
        assert (high["tile"], high["tiles"]) == ([608, 816], 6)
        info = client.get("/info").json()
        assert (info["tile"], info["architecture"]["whole"]["multiple"]) == ("whole", 8)
        mask = post(client, PHOTO, side="native").content
        batch = client.post("/segment/batch", files=[("file", ("a.png", PHOTO))] * 2, params={"side": 320})
        assert [json.loads(line)["status"] for line in batch.text.splitlines()] == [200, 200]
        assert_problem(post(client, LARGER, side="native"), 413, "at most 0.61 megapixels", "would have 0.66", "smaller side")
    assert segment([str(tmp_path / "photo.png"), "-o", str(tmp_path / "out"), "--weights", weights, "--side", "native"]) == 0
    assert (tmp_path / "out" / "photo.png").read_bytes() == mask


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ((614_400, 1 << 50, 0.11), ("MB of memory, and at most", "SEGMENT_MEMORY_MB")),
        ((614_400, 1 << 21, 1e9), ("s of the network, and an image may take at most 30 s", "SEGMENT_REQUEST_TIMEOUT_S")),
    ],
)
def test_a_photo_that_takes_the_network_too_much_is_refused(
    serve: Serve, whole_file: Callable[[Curve], str], last: tuple[int, int, float], words: tuple[str, ...]
) -> None:
    with serve(weights=whole_file((CHEAP[0], last)), tile="auto") as client:
        assert_problem(post(client, PHOTO, side="native"), 413, "the image takes", *words)
        assert post(client, PHOTO, side=256).status_code == 200


@pytest.mark.parametrize(
    ("is_whole", "tile", "words"), [(False, "whole", "fcn-convert --tile whole"), (True, "96", "convert it")]
)
def test_a_tile_that_the_network_does_not_take_stops_the_start(
    serve: Serve, whole_file: Callable[[Curve], str], is_whole: bool, tile: str, words: str
) -> None:
    weights = {"weights": whole_file(CHEAP)} if is_whole else {}
    with pytest.raises(AssertionError, match=f"could not be loaded: .*{words}"), serve(tile=tile, **weights):
        pass


def test_a_scene_is_no_photo(whole_file: Callable[[Curve], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = write_scene(tmp_path / "scene.tif", make_photo(90, 130))
    assert segment([scene, "-o", str(tmp_path / "out.tif"), "--weights", whole_file(CHEAP)]) == 2
    assert "takes each photo as a whole: for scenes and tiles, convert it without --tile whole" in capsys.readouterr().err
