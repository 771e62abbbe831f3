"""Recognises files that are not accepted by their first bytes, so that errors can name them and say what to do."""

from __future__ import annotations

import re

from imaging.formats.avif import is_avif

BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"hevx": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF"}
"""Brands of photographs in the ISO base media format (ISO/IEC 14496-12, section 4.3). Other brands are videos."""
SIGNATURES = (
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"%PDF-", "PDF"),
    (b"8BPS", "Photoshop"),
    (b"v/1\x01", "OpenEXR"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x1aE\xdf\xa3", "a video"),
)
NETPBM = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7")
TEXTS = (
    (re.compile(rb"<svg|<\?xml.*<svg", re.DOTALL), "SVG"),
    (re.compile(rb"<!doctype html|<html"), "an HTML page"),
    (re.compile(rb"(https?|ftp|file|s3|gs)://"), "a URL"),
    (re.compile(rb"data:[a-z]+/"), "a data URL"),
    (re.compile(rb'[\[{]\s*["\[{]'), "JSON"),
    (re.compile(rb"(file|image)="), "a form's field as text"),
)
"""Beginnings of texts, in lower case and without white space before them."""
ENDINGS = {".heic": "HEIC", ".heif": "HEIF", ".hif": "HEIF", ".jxl": "JPEG XL", ".jp2": "JPEG 2000"}
"""Endings of the names of photographs, in lower case."""
TEXT_BYTES = 512  # searched for them
MAGICK = "convert it, for instance to PNG: magick {} photo.png"
HEIC = "sips -s format jpeg photo.heic --out photo.jpg (macOS), or heif-convert photo.heic photo.jpg"
UNPACK = "unpack it, and send the images"
ADVICE = {
    "HEIC": f"convert it, for instance to JPEG: {HEIC}",
    "HEIF": f"convert it, for instance to JPEG: {HEIC}",
    "AVIF": "convert it, for instance to JPEG: magick photo.avif photo.jpg",
    "JPEG XL": "convert it, for instance to PNG: djxl photo.jxl photo.png",
    "JPEG 2000": MAGICK.format("photo.jp2"),
    "Photoshop": MAGICK.format("'photo.psd[0]'"),
    "OpenEXR": MAGICK.format("photo.exr"),
    "an icon": MAGICK.format("icon.ico"),
    "Netpbm": MAGICK.format("photo.ppm"),
    "PDF": "convert it, a page to an image: pdftoppm -png -r 150 file.pdf page",
    "SVG": "convert it, for instance to PNG: rsvg-convert picture.svg -o picture.png",
    "a video": "convert it, a frame to an image: ffmpeg -i video.mp4 -frames:v 1 frame.png",
    "a zip archive": UNPACK,
    "a gzip archive": UNPACK,
    "an HTML page": "send the image that it shows; was this the address of a page?",
    "a URL": "URLs are not fetched; send the image itself: curl URL | curl --data-binary @- ADDRESS",
    "a data URL": 'decode its base64 and send the bytes, or send {"inputs": DATA_URL} as application/json',
    "JSON": 'send the image itself, or {"inputs": BASE64} as application/json',
    "a form's field as text": "send the file itself: curl -F file=@photo.jpg",
}


def foreign_format(data: bytes) -> tuple[str, str] | None:
    """The name of a format that is not accepted, such as `HEIC`, and what to do with such a file; None if it is unknown."""
    name = _name(data)
    return (name, ADVICE[name]) if name else None


def foreign_ending(ending: str) -> tuple[str, str] | None:
    """What `foreign_format` says of photographs whose names have this ending, in any case of letters; None for others."""
    name = ENDINGS.get(ending.lower())
    return (name, ADVICE[name]) if name else None


def _name(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        return "AVIF" if is_avif(data) else BRANDS.get(data[8:12], "a video")
    if name := next((name for signature, name in SIGNATURES if data.startswith(signature)), None):
        return name
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "a video"
    if data[:2] in NETPBM and data[2:3].isspace():
        return "Netpbm"
    head = data[:TEXT_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((name for beginning, name in TEXTS if beginning.match(head)), None)
