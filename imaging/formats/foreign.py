"""Recognises formats that are not read by their first bytes, so that error messages can name them."""

from __future__ import annotations

BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF", b"avif": "AVIF", b"avis": "AVIF"}
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
TEXT_BYTES = 512  # searched for signs of SVG and HTML


def foreign_format(data: bytes) -> str | None:
    """The name of the format of bytes that no accepted format matches, such as `HEIC`; None if it is unknown."""
    if data[4:8] == b"ftyp":
        return BRANDS.get(data[8:12], "a video")
    if name := next((name for signature, name in SIGNATURES if data.startswith(signature)), None):
        return name
    if data[:2] in NETPBM and data[2:3].isspace():
        return "Netpbm"
    head = data[:TEXT_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<svg", b"<?xml")) and b"<svg" in head:
        return "SVG"
    if head.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    return None
