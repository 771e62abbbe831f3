"""Who may call the service: keys, origins of pages, and proxies that say who the client is. Each is parsed here."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path

ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?")
LARGEST_PORT = 65_535
DEFAULT_PORTS = {"http": "80", "https": "443"}  # browsers leave these ports out
KEY_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")


def split_key(line: str) -> tuple[str, str]:
    """The name and the key of `NAME:KEY`; of a key alone, an empty name and the key."""
    name, colon, key = line.partition(":")
    return (name.strip(), key.strip()) if colon else ("", line)


def read_keys(path: Path) -> tuple[str, ...]:
    """The lines of a file of keys: one key per line, with or without a name, without blank lines and comments (`#`).

    Raises `ValueError` if it has no key or cannot be read, or if a key cannot be sent in a header.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ValueError(f"the file with keys cannot be read: {reason}") from None
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not keys:
        raise ValueError("the file has no key; write one a line, or unset this")
    return check_keys(keys)


def check_keys(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the keys with their names. Raises `ValueError`, without quoting a key, if one cannot be used."""
    for number, line in enumerate(lines, 1):
        name, key = split_key(line)
        if not (key.isascii() and key.isprintable()):
            raise ValueError(f"key {number} has characters that no header carries; use letters, digits and signs of ASCII")
        if len(line) > 1 and line[0] == line[-1] and line[0] in "'\"":
            raise ValueError(f"key {number} stands in quotes, which would be part of it; remove them")
        if ":" in line and not (key and KEY_NAME.fullmatch(name)):
            message = f"key {number} has a colon, but is not NAME:KEY with a name of up to 64 letters, digits and . _ @ -"
            raise ValueError(f"{message}; write a name and a colon before it")
        if name and key.startswith("#"):
            raise ValueError(f"key {number} is a name and a comment, which would be its key; remove the line, or give a key")
    return lines


def browser_origin(text: str) -> str:
    """The origin as browsers send it: in lower case, without a final slash or its scheme's default port.

    Raises `ValueError` if the text is not an origin.
    """
    origin = text.lower().rstrip("/")
    if origin in ("*", "null"):
        return origin
    parts = ORIGIN.fullmatch(origin)
    if not parts or int(parts["port"] or 0) > LARGEST_PORT:
        raise ValueError("each must be * or an origin such as https://example.com or http://localhost:3000, without a path")
    port = parts["port"]
    return origin.removesuffix(f":{port}") if port and DEFAULT_PORTS.get(parts["scheme"]) == port else origin


def network(text: str) -> str:
    """The address or network, such as 10.0.0.0/8. Raises `ValueError` if the text is neither."""
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"each must be an address or a network such as 10.0.0.0/8: {error}") from None
