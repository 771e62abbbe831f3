"""The photo lies under its classes as the service reads it: upright, in every format that can have an orientation."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from playwright.sync_api import Page, expect

from imaging.decoding import Limits, decode
from tests.support.browser.page import answer_of, reply, segment_file
from tests.support.variants import long

DRAW_PROGRAM = """() => {
    const photo = document.querySelector("#photo");
    const canvas = document.createElement("canvas");
    const [width, height] = [photo.naturalWidth ?? photo.width, photo.naturalHeight ?? photo.height];
    Object.assign(canvas, { width, height });
    canvas.getContext("2d").drawImage(photo, 0, 0);
    return [width, height, [...canvas.getContext("2d").getImageData(0, 0, width, height).data]];
}"""
QUARTERS = np.kron(
    np.array([[[200, 30, 30], [30, 200, 30]], [[30, 30, 200], [230, 230, 230]]], np.uint8), np.ones((32, 48, 1), np.uint8)
)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def save(format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(QUARTERS).save(file, format, **options)
    return file.getvalue()


def png_with_exif_last(orientation: int) -> bytes:
    data = save("PNG")
    return data[:-12] + chunk(b"eXIf", exif(orientation).removeprefix(b"Exif\0\0")) + data[-12:]


def png_with_a_profile(orientation: int, *, compress: bool) -> bytes:
    info = PngImagePlugin.PngInfo()
    content = exif(orientation)
    info.add_text("Raw profile type exif", f"\nexif\n{len(content):8d}\n{content.hex()}\n", zip=compress)
    return save("PNG", pnginfo=info)


def file_of(kind: str, orientation: int) -> bytes:
    match kind:
        case "png, exif last":
            return png_with_exif_last(orientation)
        case "png, text" | "png, compressed text":
            return png_with_a_profile(orientation, compress=kind == "png, compressed text")
        case "webp, lossless":
            return save("WEBP", exif=exif(orientation), lossless=True)
        case "webp, bare exif":
            return save("WEBP", exif=exif(orientation).removeprefix(b"Exif\0\0"))
    return save(kind, exif=exif(orientation))


KINDS = [
    "jpeg",
    *long("avif", "webp", "webp, lossless", "webp, bare exif", "png"),
    "png, exif last",
    *long("png, text", "png, compressed text"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_turned_photo_is_shown_as_the_service_reads_it(page: Page, kind: str) -> None:
    for orientation in (6, 3, 2, 5) if "," not in kind else (8, 4):
        data = file_of(kind, orientation)
        upright = decode(data, Limits(1))
        height, width = upright.shape[:2]
        reply(page, answer_of(np.zeros((height, width), np.uint8)))
        name = f"{orientation}.{kind[:4]}"
        segment_file(page, {"name": name, "mimeType": f"image/{kind.split(',')[0]}", "buffer": data})
        page.locator(f'.thumb[title="{name}"]').click()
        expect(page.locator("#status")).to_contain_text(f"{name}: ")
        expect(page.locator("#photo-note")).to_be_hidden()
        drawn_width, drawn_height, pixels = page.evaluate(DRAW_PROGRAM)
        assert (drawn_width, drawn_height) == (width, height)
        pixels_on_page = np.array(pixels, int).reshape(height, width, 4)[..., :3]
        assert abs(pixels_on_page - upright.astype(int)).mean() < 8, orientation


@pytest.mark.long
@pytest.mark.parametrize("format", ["gif", "webp", "png"])
def test_a_picture_that_moves_stands_still_at_its_first_frame(page: Page, format: str) -> None:
    frames = [Image.fromarray(np.full((40, 60, 3), value, np.uint8)) for value in (250, 5)]
    file = io.BytesIO()
    frames[0].save(file, format, save_all=True, append_images=frames[1:], duration=20, loop=0)
    reply(page, answer_of(np.zeros((40, 60), np.uint8)))
    segment_file(page, {"name": f"a.{format}", "mimeType": f"image/{format}", "buffer": file.getvalue()})
    assert page.locator("#photo").evaluate("(e) => e.tagName") == "CANVAS"
    assert page.evaluate(DRAW_PROGRAM)[2][0] > 240
