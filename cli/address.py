"""Opens an HTTP client for a service: checks its address and API key, and uses the environment's proxies."""

from __future__ import annotations

import ipaddress

import httpx

TIMEOUT_S = 300.0
VARIABLES = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY or SSL_CERT_FILE"


class AddressError(OSError):
    """The address, the API key or a proxy cannot be used to send requests."""


def open_client(server: str, api_key: str | None) -> httpx.Client:
    """Opens a client for the service at this address. Close it after use.

    Requests to this machine go direct; requests to others use the environment's proxies. Raises `AddressError`.
    """
    url = _address(server)
    headers = {"X-API-Key": _key(api_key)} if api_key else {}
    try:
        # with a transport of its own, httpx uses no proxy
        transport = httpx.HTTPTransport() if is_this_machine(url.host) else None
        return httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, transport=transport)
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        raise AddressError(f"{VARIABLES} cannot be used for {origin(url)}: {error}; change or unset it") from error


def origin(url: httpx.URL) -> str:
    """Scheme, host and port of the address, without user and password."""
    return f"{url.scheme}://{url.netloc.decode()}"


def is_this_machine(host: str) -> bool:
    """Whether requests to this host stay on this machine: localhost, 127.0.0.0/8, ::1 and the unspecified addresses."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


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
