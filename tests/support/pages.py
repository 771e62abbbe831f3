"""What tests of pages read off them, and of the pictures that their commands write."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image


def blocks(text: str, language: str = "sh") -> list[str]:
    """The blocks of a page in this language; at least one."""
    texts = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert texts
    return texts


def size_of(path: Path) -> tuple[int, int]:
    """(width, height) of a picture."""
    with Image.open(path) as image:
        return image.size
