"""Reads text files in the encodings that editors and shells write."""

from __future__ import annotations

import codecs
from pathlib import Path

from model.regular_file import read_regular_file

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's mark, which is its beginning
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: Path) -> str:
    """A regular file's text, decoded as UTF-8 or as its byte order mark says.

    Raises `ValueError` naming a file it cannot decode, and `OSError` for a file that cannot be read, or is none.
    """
    data = read_regular_file(path)
    encoding = next((encoding for mark, encoding in MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in {encoding}: byte {error.start} is wrong; save it as UTF-8") from error
