"""Checks a service's address, its API key, and the proxies of the environment."""

from __future__ import annotations

import ipaddress
from contextlib import suppress

import httpx

from fcn_client.bodies import ENCODING

VARIABLES = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE or SSLKEYLOGFILE"


def base(url: str) -> httpx.URL:
    """Parses the address and ends it with a slash, so that paths are added below it. Raises `ValueError`."""
    rule = "base_url must be an address such as http://127.0.0.1:8000"
    if not isinstance(url, str):
        raise ValueError(f"{rule}, got {url!r}")
    try:
        address = httpx.URL(url.strip().rstrip("/") + "/")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ValueError(f"{rule}, got {url!r}: {error}") from error
    if address.scheme not in ("http", "https") or not address.host or address.query or address.fragment:
        raise ValueError(f"{rule}, got {url!r}")
    return address


def headers(api_key: str | None) -> dict[str, str]:
    """The headers of every request: the encoding of answers, and the API key.

    Raises `ValueError` if a header cannot hold the key; the error does not show the key.
    """
    if api_key in (None, ""):
        return {"Accept-Encoding": ENCODING}
    if not isinstance(api_key, str) or not (api_key.isascii() and api_key.isprintable()) or api_key != api_key.strip():
        raise ValueError("api_key must be letters, digits and signs of ASCII, without spaces or line ends around it")
    return {"Accept-Encoding": ENCODING, "X-API-Key": api_key}


def is_this_machine(host: str) -> bool:
    """Whether requests to this host stay on this machine: localhost, 127.0.0.0/8, ::1 and the unspecified addresses.

    The clients pass their own transport for such hosts, so that httpx uses no proxy.
    """
    name = host.lower().rstrip(".")
    with suppress(ValueError):  # a name
        address = ipaddress.ip_address(name)
        address = getattr(address, "ipv4_mapped", None) or address
        return address.is_loopback or address.is_unspecified
    return f".{name}".endswith(".localhost")
