"""Opens HTTP clients, with the environment's proxies; for a service, checks its address and API key."""

from __future__ import annotations

import ipaddress
from contextlib import closing, suppress
from typing import Any

import httpx

TIMEOUT_S = 300.0
VARIABLES = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE or SSLKEYLOGFILE"
OF_TRANSFER = {b"content-encoding", b"content-length", b"transfer-encoding"}
"""Headers of a body as it travels."""


class AddressError(OSError):
    """The address, the API key or a proxy cannot be used to send requests."""


def open_client(server: str, api_key: str | None) -> httpx.Client:
    """Opens a client for the service at this address. Close it after use.

    Requests to this machine go direct; requests to others use the environment's proxies. Raises `AddressError`.
    """
    url = _address(server)
    headers = {"Accept-Encoding": "gzip"} | ({"X-API-Key": _key(api_key)} if api_key else {})
    return open_http(is_this_machine(url.host), f" for {origin(url)}", base_url=url, headers=headers, timeout=TIMEOUT_S)


def open_http(this_machine: bool, where: str = "", **options: Any) -> httpx.Client:
    """Opens a client for hosts that are this machine, or for others. where: for the error. Raises `AddressError`."""
    try:
        # with a transport of its own, httpx uses no proxy
        return httpx.Client(transport=httpx.HTTPTransport() if this_machine else None, **options)
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        raise AddressError(f"{VARIABLES} cannot be used{where}: {error}; change or unset it") from error


def ask(client: httpx.Client, request: httpx.Request, most_bytes: int) -> httpx.Response:
    """Sends a request and gives the answer, with its body.

    Raises `httpx.DecodingError` for a body of more bytes, or in other encodings than one gzip, and the errors of httpx.
    """
    with closing(client.send(request, stream=True)) as response:
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip"):  # several encodings could make any amount of bytes of one chunk
            raise httpx.DecodingError(f"an answer in the encoding {encoding[:100]}, though gzip was asked for")
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > most_bytes:
                raise httpx.DecodingError(f"an answer of more than {most_bytes / 1e6:,.0f} MB")
        headers = [(name, value) for name, value in response.headers.raw if name.lower() not in OF_TRANSFER]
        return httpx.Response(response.status_code, headers=headers, content=bytes(body), request=request)


def origin(url: httpx.URL) -> str:
    """Scheme, host and port of the address, without user and password."""
    return f"{url.scheme}://{url.netloc.decode()}"


def is_this_machine(host: str) -> bool:
    """Whether requests to this host stay on this machine: localhost, 127.0.0.0/8, ::1 and the unspecified addresses."""
    name = host.lower().rstrip(".")
    with suppress(ValueError):  # a name
        address = ipaddress.ip_address(name)
        address = getattr(address, "ipv4_mapped", None) or address
        return address.is_loopback or address.is_unspecified
    return f".{name}".endswith(".localhost")


def _address(server: str) -> httpx.URL:
    advice = "give an address such as http://127.0.0.1:8000"
    try:
        url = httpx.URL(server.strip().rstrip("/") + "/")
    except (httpx.InvalidURL, ValueError) as error:
        raise AddressError(f"--server {server!r} is no address ({error}); {advice}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise AddressError(f"--server must begin with http:// or https:// and name a host, got {server!r}; {advice}")
    if url.query or url.fragment:
        raise AddressError(f"--server must end with the path, without ? and #, got {server!r}; {advice}")
    return url


def _key(api_key: str) -> str:
    """Checks the key. The error does not show it, since it may differ from the right key by one character."""
    if not (api_key.isascii() and api_key.isprintable()) or api_key != api_key.strip():
        raise AddressError("--api-key must be letters, digits and signs of ASCII, without spaces or line ends around it")
    return api_key
