"""Recognises files that are not accepted by their first bytes, so that errors can name them and say what to do."""

from __future__ import annotations

import re

from imaging.formats.avif import is_avif

BRANDS = {
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"hevc": "HEIC",
    b"hevx": "HEIC",
    b"mif1": "HEIF",
    b"msf1": "HEIF",
    b"crx ": "a camera's raw file",
}
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
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x8aMNG\r\n\x1a\n", "MNG"),
    (b"\x8bJNG\r\n\x1a\n", "MNG"),
    (b"qoif", "QOI"),
    (b"icns", "an icon"),
    (b"\x00\x00\x02\x00", "an icon"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file"),
    (b"IIRO", "a camera's raw file"),
    (b"IIRS", "a camera's raw file"),
    (b"IIU\x00", "a camera's raw file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89PNG", "a PNG with changed line breaks"),  # its whole signature is that of an accepted file
    (b"\xef\xbf\xbdPNG", "an image that was read as text"),
    (b"\xc2\x89PNG", "an image that was read as text"),
    (b"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", "an image that was read as text"),
    (b"\xc3\xbf\xc3\x98\xc3\xbf", "an image that was read as text"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
    (b"\x1aE\xdf\xa3", "a video"),
)
NETPBM = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7")
TEXTS = (
    (re.compile(rb"<svg|<\?xml.*<svg", re.DOTALL), "SVG"),
    (re.compile(rb"<!doctype html|<html|<\?xml.*<html", re.DOTALL), "an HTML page"),
    (re.compile(rb"<\?xml|<error>"), "XML"),
    (re.compile(rb"(https?|ftp|file|s3|gs)://"), "a URL"),
    (re.compile(rb"data:[a-z]+/"), "a data URL"),
    (re.compile(rb'[\[{]\s*["\[{]'), "JSON"),
    (re.compile(rb"(file|image)="), "a form's field as text"),
    (re.compile(rb"--[^\r\n]{1,200}\r?\ncontent-(disposition|type):"), "a form without its header"),
    (re.compile(rb"version https://git-lfs\.github\.com/"), "a pointer of Git LFS"),
    (re.compile(rb"(\.\./)*(\.git)?/annex/objects/"), "a pointer of git-annex"),
    (re.compile(rb"ivborw0kggo|/9j/|r0lgod|uklgr|qk[a-z0-9+/]{6}aaaa|sukqa|tu0akg|aaaa.gz0exbhdml"), "base64"),  # of images
)
"""Beginnings of texts, in lower case and without white space before them."""
ENDINGS = {".heic": "HEIC", ".heif": "HEIF", ".hif": "HEIF", ".jxl": "JPEG XL", ".jp2": "JPEG 2000"}
"""Endings of the names of photographs, in lower case."""
TEXT_BYTES = 512  # searched for them
MAGICK = "convert it, for instance to PNG: magick {} photo.png"
HEIC = "sips -s format jpeg photo.heic --out photo.jpg (macOS), or heif-convert photo.heic photo.jpg"
UNPACK = "unpack it, and send the images"
CHANGED_TEXT = "send the file as it is: curl changes it with -d and --data, and not with --data-binary @photo.jpg"
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
    "a zstd archive": UNPACK,
    "MNG": MAGICK.format("'photo.mng[0]'"),
    "QOI": MAGICK.format("photo.qoi"),
    "a camera's raw file": "develop it, for instance to JPEG: darktable-cli photo.raw photo.jpg",
    "a NumPy array": "save it as a picture, for instance with Pillow: Image.fromarray(array).save('photo.png')",
    "a PNG with changed line breaks": CHANGED_TEXT,
    "an image that was read as text": "read it as bytes, in Python with open('photo.jpg', 'rb')",
    "text in UTF-16": "send the image itself",
    "XML": "send the image itself; is this a server's error message?",
    "a form without its header": "send it with Content-Type: multipart/form-data; boundary=..., which clients set for a form",
    "a pointer of Git LFS": "fetch the file that it stands for: git lfs pull",
    "a pointer of git-annex": "fetch the file that it stands for: git annex get FILE",
    "base64": 'decode it and send the bytes, or send {"inputs": BASE64} as application/json',
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
