"""Tells files apart by their first bytes: the accepted formats, and others with what to do about them."""

from __future__ import annotations

import re
import warnings
from codecs import getincrementaldecoder
from typing import NamedTuple

PILLOW = re.compile(r"PIL\.")
JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
TIFF = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")  # the third and fourth are wrong, but Pillow reads them
SIGNATURES = {"JPEG": (JPEG,), "PNG": (PNG,), "GIF": (b"GIF87a", b"GIF89a"), "TIFF": TIFF, "BMP": (b"BM",)}
UNKNOWN = "unknown"
AVIF_BRANDS = (b"avif", b"avis")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # ISO/IEC 23008-12, annexes B and C
HEAD_BYTES = 512  # searched for the names of formats that are not accepted
LEAST_BYTES, LEAST_VALUES = 2000, 240  # of a compressed file that misses two values of bytes by chance once in millions
SAMPLE_BYTES = 1 << 16  # whose values are counted
WITHOUT_LINE_BREAKS = "it has no byte of a line break, as after curl's -d; send it with curl --data-binary @photo.jpg"


class Foreign(NamedTuple):
    """A format that is not accepted. start: of its files, a regular expression. advice: what to do with such a file."""

    name: str
    start: bytes
    advice: str


MAGICK = "convert it, for instance to PNG: magick {} photo.png"
HEIC = (
    "convert it to JPEG: sips -s format jpeg photo.heic --out photo.jpg (macOS), or heif-convert photo.heic photo.jpg; "
    "or install this package with its extra heif"
)
CURL = "send the file as it is: curl changes it with -d and --data, and not with --data-binary @photo.jpg"
FETCH = "URLs are not fetched; send the image itself: curl URL | curl --data-binary @- ADDRESS"
TEXT = rb"[\xef\xbb\xbf\s]*"  # a byte order mark and white space
QUOTE = TEXT + rb"(b?[\"'])?"  # of JSON or Python
VALUE = (
    rb"""(\[object [^\]]*\]|undefined|null|none|nan|true|false|\{\}|\[\])\s*\Z|<(_io|pil)\.|b['"]\\x|\d{1,3}(, ?\d{1,3}){3}"""
)
NAME = rb"@?[^\r\n\0]{1,200}\.(jpe?g|png|webp|gif|bmp|tiff?|avif|hei[cf])\s*\Z"
BASE64 = rb"(ivborw0kggo|/9j/|r0lgod|uklgr|qk[a-z0-9+/]{6}aaaa|sukqa|tu0akg|aaaa.gz0exbhdml)"  # of images
# fmt: off
FOREIGN = (  # the first that fits counts; brands of ISO media files: ISO/IEC 14496-12, section 4.3
    Foreign("HEIC", rb".{4}ftyp(heic|heix|hevc|hevx)", HEIC),
    Foreign("HEIF", rb".{4}ftyp(mif1|msf1)", HEIC),
    Foreign("AVIF", rb".{4}ftypavi[fs]", "convert it, for instance to JPEG: magick photo.avif photo.jpg"),
    Foreign("a camera's raw file", rb".{4}ftypcrx |FUJIFILMCCD|II(RO|RS|U\0)", "develop it: darktable-cli photo.raw photo.jpg"),
    Foreign("a video", rb".{4}ftyp|RIFF.{4}AVI |\x1aE\xdf\xa3", "convert a frame: ffmpeg -i video.mp4 -frames:v 1 frame.png"),
    Foreign("JPEG XL", rb"\0\0\0\x0cJXL |\xff\x0a", "convert it, for instance to PNG: djxl photo.jxl photo.png"),
    Foreign("JPEG 2000", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", MAGICK.format("photo.jp2")),
    Foreign("PDF", rb"%PDF-", "convert it, a page to an image: pdftoppm -png -r 150 file.pdf page"),
    Foreign("Photoshop", rb"8BPS", MAGICK.format("'photo.psd[0]'")),
    Foreign("OpenEXR", rb"v/1\x01", MAGICK.format("photo.exr")),
    Foreign("an icon", rb"\0\0[\x01\x02]\0[^\0]|icns", MAGICK.format("icon.ico")),
    Foreign("TGA", rb"\0(\0[\x02\x03\x0a\x0b]\0{5}|\x01[\x01\x09]\0)", MAGICK.format("photo.tga")),
    Foreign("Netpbm", rb"P[1-7]\s", MAGICK.format("photo.ppm")),
    Foreign("an archive", rb"PK\x03\x04|\x1f\x8b|\x28\xb5\x2f\xfd", "unpack it, and send the images"),  # zip, gzip, zstd
    Foreign("a NumPy array", rb"\x93NUMPY", "save it as a picture, with Pillow: Image.fromarray(array).save('photo.png')"),
    Foreign("a big-endian BigTIFF", rb"MM\0\+", "save it little-endian, or as TIFF 6.0"),  # Pillow misreads its header
    Foreign("a PNG in Apple's form (CgBI)", rb"\x89PNG\r\n\x1a\n.{4}CgBI",
            "convert it: xcrun -sdk iphoneos pngcrush -revert-iphone-optimizations photo.png out.png"),
    Foreign("a PNG with changed line breaks", rb"\x89PNG", CURL),
    Foreign("an image that was read as text", rb"(\xef\xbf\xbd|\xc2\x89)PNG|(\xef\xbf\xbd){3}|\xc3\xbf\xc3\x98\xc3\xbf",
            "read it as bytes, in Python with open('photo.jpg', 'rb')"),
    Foreign("text in UTF-16", rb"\xff\xfe|\xfe\xff", "send the image itself"),
    Foreign("SVG", TEXT + rb"(<svg|<\?xml.*<svg)", "convert it, for instance to PNG: rsvg-convert picture.svg -o picture.png"),
    Foreign("an HTML page", TEXT + rb"(<!doctype html|<html|<\?xml.*<html)", "send the image that it shows"),
    Foreign("XML", TEXT + rb"(<\?xml|<error>)", "send the image itself; is this a server's error message?"),
    Foreign("a URL", TEXT + rb"((https?|ftp|file|s3|gs)://|blob:)", FETCH),
    Foreign("a data URL", QUOTE + rb"data:[a-z]*[/;,]",
            'send the bytes of its base64, or {"inputs": DATA_URL} as application/json'),
    Foreign("JSON", TEXT + rb'[\[{]\s*["\[{\d]', 'send the image itself, or {"inputs": BASE64} as application/json'),
    Foreign("a form's field as text", TEXT + rb"(file|image)=", "send the file itself: curl -F file=@photo.jpg"),
    Foreign("a form without its header", TEXT + rb"--[^\r\n]{1,200}\r?\ncontent-(disposition|type):",
            "send it with Content-Type: multipart/form-data; boundary=..., which clients set for a form"),
    Foreign("a pointer of Git LFS", TEXT + rb"version https://git-lfs\.", "fetch the file that it stands for: git lfs pull"),
    Foreign("a pointer of git-annex", TEXT + rb"(\.\./)*(\.git)?/annex/objects/", "fetch its file: git annex get FILE"),
    Foreign("text that a program wrote for a value", TEXT + VALUE,
            'send the file itself, in a page as fetch(ADDRESS, {method: "POST", body: file})'),
    Foreign("a file's name", TEXT + NAME, "send the file itself: curl --data-binary @photo.jpg"),
    Foreign("base64", QUOTE + BASE64, 'decode it and send the bytes, or send {"inputs": BASE64} as application/json'),
)
# fmt: on
ENDINGS = {".heic": "HEIC", ".heif": "HEIF", ".hif": "HEIF", ".jxl": "JPEG XL", ".jp2": "JPEG 2000"}
"""Endings of the names of photographs, in lower case."""


def format_of(data: bytes) -> str:
    """The name of the format whose signature the file has, or `unknown`. HEIF is accepted where its reader is installed.

    The first 12 bytes are enough, except for an AVIF or HEIF whose first brand is a general one, and a PNG in Apple's form.
    """
    if data.startswith(b"MM\0+") or data[12:16] == b"CgBI":
        return UNKNOWN
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
        names = {brands[place : place + 4] for place in range(0, len(brands), 4) if place != 4}  # 4: a version
        kinds = (("AVIF", AVIF_BRANDS), ("HEIF", HEIF_BRANDS))
        return next((kind for kind, those in kinds if not names.isdisjoint(those)), UNKNOWN)
    return next((name for name, starts in SIGNATURES.items() if data.startswith(starts)), UNKNOWN)


def foreign_format(data: bytes) -> Foreign | None:
    """The format of a file that is not accepted; None if it is unknown."""
    head = data[:HEAD_BYTES]
    return next((foreign for foreign in FOREIGN if re.match(foreign.start, head, re.DOTALL | re.IGNORECASE)), None)


def foreign_ending(ending: str) -> Foreign | None:
    """The format of photographs whose names have this ending, in any case of letters; None for others."""
    return next((foreign for foreign in FOREIGN if foreign.name == ENDINGS.get(ending.lower())), None)


def is_text(data: bytes) -> bool:
    """Whether a file begins with text in UTF-8."""
    try:
        text = "".join(getincrementaldecoder("utf-8")().decode(data[:HEAD_BYTES]).split())  # which may end within a letter
    except UnicodeDecodeError:
        return False
    return bool(text) and text.isprintable()


def lacks_line_breaks(data: bytes) -> bool:
    """Whether a binary file has no byte of a line feed or carriage return, because a program took it for text."""
    if len(data) < LEAST_BYTES or b"\n" in data or b"\r" in data:
        return False
    return len(set(data[:SAMPLE_BYTES])) >= LEAST_VALUES


def ignore_pillow_warnings() -> None:
    """Ignores Pillow's warnings, which are harmless or lead to an error. Call it before Pillow reads bytes of others.

    The filter stays for the process's life: `catch_warnings` would undo the filters that other threads set.
    """
    if not any(module == PILLOW for _, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=PILLOW.pattern)
