"""The pixels of the page against ours: class maps, photos upright at their first frame, and the colours of confidence."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin
from playwright.sync_api import Page, expect

from benchmarks.harness.image_files import file_of
from imaging.classes import is_background
from imaging.decoding import Limits, decode
from imaging.runs import column_runs, encode_rle
from tests.support.browser.page import SEGMENT, answer_of, give, reply, segment_file
from tests.support.images import Pixels, encode
from tests.support.imaging.samples import late_exif_png
from tests.support.vision import oklab

READ_PROGRAM = """async ([map, largest]) => {
    const { classMap } = await import("./static/rle.js");
    const { width, height, ids } = classMap(map, largest);
    let text = "";
    for (let at = 0; at < ids.length; at += 32768) text += String.fromCharCode(...ids.subarray(at, at + 32768));
    return [width, height, btoa(text)];
}"""
SIZES = [((1, 1), 1), ((1, 40), 2), ((40, 1), 2), ((37, 53), 5), ((300, 200), 255), ((129, 65), 2)]


def read(page: Page, class_map: Pixels, largest: int = 4096) -> Pixels:
    document: dict[str, Any] = {
        "size": list(class_map.shape), "counts": encode_rle(column_runs(class_map), np.unique(class_map).tolist()),
    }  # fmt: skip
    width, height, text = page.evaluate(READ_PROGRAM, [document, largest])
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width)


def nearest(length: int, target: int) -> Any:
    return ((np.arange(target) + 0.5) * length / target).astype(int)


def test_every_pixel_is_read_as_it_was_written_and_a_large_map_smaller_by_the_nearest_pixel(page: Page) -> None:
    for size, values in SIZES:
        noise = np.random.default_rng(0).integers(0, values, size, dtype=np.uint8)
        np.testing.assert_array_equal(read(page, noise), noise)
        blocks = np.kron(noise, np.ones((5, 7), np.uint8))
        np.testing.assert_array_equal(read(page, blocks), blocks)
    for size in ((50, 400), (400, 50), (333, 333)):
        noise = np.random.default_rng(1).integers(0, 4, size, dtype=np.uint8)
        result = read(page, noise, 100)
        assert max(result.shape) == 100
        places = np.ix_(nearest(size[0], result.shape[0]), nearest(size[1], result.shape[1]))
        np.testing.assert_array_equal(result, noise[places])


HEAT = 'async () => (await import("./static/colors.js")).HEAT'
IS_CLEAR = 'async (entry) => (await import("./static/layers.js")).isClear(entry)'


def test_the_colours_of_confidence_are_even_to_the_eye_and_a_background_is_clear_by_whichever_name(page: Page) -> None:
    heat = np.array(page.evaluate(HEAT), float)
    opacity = heat[:, 3:] / 255
    assert (np.diff(opacity[:, 0]) <= 0).all()
    on_white = np.rint(opacity * heat[:, :3] + (1 - opacity) * 255).astype(int)
    tenths = oklab(on_white.tolist())[np.linspace(0, 255, 11).astype(int)]
    steps = np.linalg.norm(np.diff(tenths, axis=0), axis=1)
    assert steps.max() < 1.3 * steps.min()
    assert (np.diff(tenths[:, 0]) > 0).all()
    for name in ("_background_", "Background", " BACKGROUND ", "backgrounds", "leaf"):
        assert page.evaluate(IS_CLEAR, {"id": 0, "name": name, "color": "#123456"}) == is_background(name)
        assert not page.evaluate(IS_CLEAR, {"id": 1, "name": name, "color": "#123456"})
        assert page.evaluate(IS_CLEAR, {"id": 1, "name": name, "color": "#000000"})


DRAW_PROGRAM = """() => {
    const photo = document.querySelector("#photo");
    const canvas = document.createElement("canvas");
    const [width, height] = [photo.naturalWidth ?? photo.width, photo.naturalHeight ?? photo.height];
    Object.assign(canvas, { width, height });
    canvas.getContext("2d").drawImage(photo, 0, 0);
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    return [width, height, data.reduce((text, value) => text + String.fromCharCode(value), "")];
}"""


def drawn(page: Page) -> Any:
    """The photo as the page draws it: (height, width, 3) int."""
    width, height, text = page.evaluate(DRAW_PROGRAM)
    return np.frombuffer(text.encode("latin-1"), np.uint8).reshape(height, width, 4)[..., :3].astype(int)


QUARTERS = np.kron(
    np.array([[[200, 30, 30], [30, 200, 30]], [[30, 30, 200], [230, 230, 230]]], np.uint8), np.ones((32, 48, 1), np.uint8)
)


def exif(orientation: int, *, little: bool = False) -> bytes:
    tags = Image.Exif()
    tags.endian = "<" if little else ">"
    tags[0x0112] = orientation
    return tags.tobytes()


def png_with_a_profile(content: bytes, *, compress: bool) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n{len(content):8d}\n{content.hex()}\n", zip=compress)
    return encode(QUARTERS, pnginfo=info)


TURNED = {
    "6.jpeg": encode(QUARTERS, "JPEG", exif=exif(6)),
    "5.avif": encode(QUARTERS, "AVIF", exif=exif(5)),
    "6.webp": encode(QUARTERS, "WEBP", exif=exif(6)),
    "2.webp": encode(QUARTERS, "WEBP", exif=exif(2, little=True).removeprefix(b"Exif\0\0"), lossless=True),
    "3.png": encode(QUARTERS, exif=exif(3)),
    "8.png": late_exif_png(QUARTERS, 8),
    "4.png": png_with_a_profile(exif(4), compress=False),
    "7.png": png_with_a_profile(exif(7, little=True), compress=True),
}


def test_a_photo_is_shown_as_the_service_reads_it_upright_and_at_its_first_frame(page: Page) -> None:
    for name, data in TURNED.items():
        upright = decode(data, Limits(1))
        height, width = upright.shape[:2]
        reply(page, answer_of(np.zeros((height, width), np.uint8)))
        segment_file(page, {"name": name, "mimeType": f"image/{name[2:]}", "buffer": data})
        page.locator(f'.thumb[title="{name}"]').click()
        expect(page.locator("#status")).to_contain_text(f"{name}: ")
        expect(page.locator("#photo-note")).to_be_hidden()
        pixels_on_page = drawn(page)
        assert pixels_on_page.shape == upright.shape, name
        assert abs(pixels_on_page - upright.astype(int)).mean() < 8, name
    page.unroute(SEGMENT)
    frames = [Image.fromarray(np.full((40, 60, 3), value, np.uint8)) for value in (250, 5)]
    reply(page, answer_of(np.zeros((40, 60), np.uint8)))
    for format in ("gif", "webp", "png"):
        data = file_of(frames[0], format, save_all=True, append_images=frames[1:], duration=20, loop=0)
        give(page, {"name": f"a.{format}", "mimeType": f"image/{format}", "buffer": data})
        page.locator(f'.thumb[title="a.{format}"]').click()
        expect(page.locator("#status")).to_contain_text(f"a.{format}: ")
        assert page.locator("#photo").evaluate("(e) => e.tagName") == "CANVAS"
        assert drawn(page)[0, 0, 0] > 240
