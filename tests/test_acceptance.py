"""The default weights on free photos, over HTTP: every size and kind of file, three encodings, and golden masks."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from cli.main import main as fcn_segment
from model.inference.loading import load_runtime
from model.inference.plan import Options
from model.inference.segmenter import Segmenter
from model.weights_file import DEFAULT_WEIGHTS, find_files, find_weights, load_weights
from tests.support.checkout import ROOT
from tests.support.images import Pixels, encode
from tests.support.polling import HANG_S
from tests.support.variants import long

PHOTOS = ROOT / "docs" / "photos"
GOLDEN = Path(__file__).parent / "golden"
NAMES = ("chelsea", "astronaut", "coffee")


def load(name: str) -> Image.Image:
    return Image.open(PHOTOS / f"{name}.jpg").convert("RGB")


def ask(url: str, data: bytes, **query: str) -> httpx.Response:
    response = httpx.post(f"{url}/segment", files={"file": data}, params=query, timeout=HANG_S)
    assert response.status_code == 200, response.text
    return response


def class_map(body: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(body)))


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (32, 31), (500, 33), (375, 500), (1536, 2048), (600, 4000)], ids=str)
def test_a_photo_of_any_size_comes_back_at_its_size(live_url: str, size: tuple[int, int]) -> None:
    photo = load("chelsea").resize(size)
    assert class_map(ask(live_url, saved(photo, "JPEG")).content).shape == size[::-1]


def rgba(photo: Image.Image) -> Image.Image:
    layer = photo.convert("RGBA")
    layer.putalpha(Image.linear_gradient("L").resize(photo.size).point(lambda v: 255 - v // 4))
    return layer


def over_white(layer: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer.convert("RGBA")).convert("RGB")


def sixteen_bit(photo: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)


def turned(photo: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(photo.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)


KINDS: dict[str, Callable[[Image.Image], tuple[bytes, Image.Image]]] = {
    "RGBA PNG": lambda p: (saved(rgba(p), "PNG"), over_white(rgba(p))),
    "LA PNG": lambda p: (saved(rgba(p).convert("LA"), "PNG"), over_white(rgba(p).convert("LA"))),
    "grey PNG": lambda p: (saved(p.convert("L"), "PNG"), p.convert("L").convert("RGB")),
    "16-bit PNG": lambda p: (saved(sixteen_bit(p), "PNG"), p.convert("L").convert("RGB")),
    "16-bit TIFF": lambda p: (saved(sixteen_bit(p), "TIFF"), p.convert("L").convert("RGB")),
    "1-bit PNG": lambda p: (saved(p.convert("1"), "PNG"), p.convert("1").convert("RGB")),
    "CMYK JPEG": lambda p: (saved(p.convert("CMYK"), "JPEG", quality=95), p),
    "CMYK TIFF": lambda p: (saved(p.convert("CMYK"), "TIFF"), p),
    "palette PNG": lambda p: (saved(p.quantize(256), "PNG"), p.quantize(256).convert("RGB")),
    "palette GIF": lambda p: (saved(p.quantize(256), "GIF"), p.quantize(256).convert("RGB")),
    "EXIF-turned PNG": lambda p: (turned(p), p),
    "JPEG": lambda p: (saved(p, "JPEG", quality=95), p),
    "WebP": lambda p: (saved(p, "WEBP", lossless=True), p),
    "BMP": lambda p: (saved(p, "BMP"), p),
    "TIFF": lambda p: (saved(p, "TIFF", compression="tiff_lzw"), p),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_of_any_kind_gives_the_mask_of_the_plain_one(live_url: str, kind: str) -> None:
    data, plain = KINDS[kind](load("chelsea"))
    mask = class_map(ask(live_url, data).content)
    expected = class_map(ask(live_url, saved(plain, "PNG")).content)
    assert mask.shape == (300, 451)
    assert (mask == expected).mean() >= 0.98


@pytest.mark.parametrize("name", [NAMES[0], *long(*NAMES[1:])])
def test_png_rle_base64_and_array_agree_over_http_and_from_the_command_line(live_url: str, tmp_path: Path, name: str) -> None:
    data = (PHOTOS / f"{name}.jpg").read_bytes()
    mask = class_map(ask(live_url, data).content)
    answers = {encoding: ask(live_url, data, format="json", mask=encoding) for encoding in ("rle", "png", "array")}
    rle = answers["rle"].json()["class_map"]
    decoded = np.full(mask.shape, 255, np.uint8)
    for class_id, counts in rle["counts"].items():
        decoded[coco.decode({"size": rle["size"], "counts": counts.encode()}) == 1] = int(class_id)
    np.testing.assert_array_equal(decoded, mask)
    np.testing.assert_array_equal(class_map(base64.b64decode(answers["png"].json()["class_map"]["data"])), mask)
    np.testing.assert_array_equal(np.array(answers["array"].json()["class_map"]["data"]), mask)
    for encoding, answer in answers.items():
        out = tmp_path / f"{encoding}.json"
        assert fcn_segment([str(PHOTOS / f"{name}.jpg"), "-o", str(out), "--format", "json", "--mask", encoding]) == 0
        assert out.read_bytes() == answer.content


@pytest.mark.parametrize(
    ("runtime", "precision", "agreement"),
    [("openvino", "float32", 0.995), ("torch", "float32", 0.995), ("openvino", "int8", 0.98)],
)
def test_golden_masks_do_not_change(runtime: str, precision: str, agreement: float) -> None:
    segmenter = Segmenter(load_runtime(find_files(DEFAULT_WEIGHTS), runtime, "cpu", precision))
    for name in NAMES[:2]:
        data = (PHOTOS / f"{name}.jpg").read_bytes()
        mask = class_map(segmenter.segment(data, segmenter.plan(data, Options())).body)
        golden = np.asarray(Image.open(GOLDEN / f"{name}.png"))
        assert (mask == golden).mean() >= agreement
        assert {0, *np.unique(golden)} == {0, *np.unique(mask)}


def test_the_default_file_is_small_and_of_21_classes() -> None:
    path = find_weights(DEFAULT_WEIGHTS)
    assert path.stat().st_size < 20e6
    weights = load_weights(path)
    assert len(weights.manifest.labels) == 21
    assert weights.manifest.license == "Apache-2.0"
    assert path.with_suffix(".md").read_text().count(weights.sha256) == 1


def test_a_png_of_noise_leaves_the_service_ready(live_url: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert class_map(ask(live_url, encode(noise)).content).shape == (64, 64)
    assert httpx.get(f"{live_url}/health/ready", timeout=HANG_S).status_code == 200
