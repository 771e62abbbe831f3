"""API keys, and the secret of callbacks: how they are written, in settings and files."""

from __future__ import annotations

import re
from base64 import b64decode
from contextlib import suppress
from pathlib import Path

from app.variables import read_text

KEY = re.compile(r"(?!['\"#])[ -~]+(?<!['\"])")
SECRET_PREFIX, SECRET_BYTES = "whsec_", range(24, 65)  # as Standard Webhooks says
KEY_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")


def split_key(line: str) -> tuple[str, str]:
    """The name and the key of `NAME:KEY`; of a key alone, an empty name and the key."""
    name, colon, key = line.partition(":")
    return (name.strip(), key.strip()) if colon else ("", line)


def read_keys(path: Path) -> tuple[str, ...]:
    """The lines of a file of keys: one key per line, with or without a name, without blank lines and comments (`#`).

    Raises `ValueError` if it has no key or cannot be read, or if a key cannot be used.
    """
    lines = tuple(line.strip() for line in read_text(path).split("\n"))
    if not (keys := tuple(line for line in lines if line and not line.startswith("#"))):
        raise ValueError("the file has no key; write one a line, or unset this")
    return check_keys(keys)


def check_keys(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the keys with their names. Raises `ValueError`, without quoting a key, if one cannot be used."""
    for number, line in enumerate(lines, 1):
        name, key = split_key(line)
        if not KEY.fullmatch(key) or (":" in line and not KEY_NAME.fullmatch(name)):
            form = "KEY or NAME:KEY, the name of up to 64 letters, digits and . _ @ -, the key of printable ASCII"
            raise ValueError(f"key {number} is not {form}, without quotes around it and # before it")
    return lines


def parse_secret(text: str) -> bytes:
    """The key of signatures, from `whsec_` and base64. Raises `ValueError`, which does not show it."""
    with suppress(ValueError):
        secret = b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
        if text.startswith(SECRET_PREFIX) and len(secret) in SECRET_BYTES:
            return secret
    raise ValueError("must be whsec_ and 24 to 64 random bytes in base64: echo whsec_$(openssl rand -base64 32)")
