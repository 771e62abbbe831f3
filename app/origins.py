"""Origins, hosts, addresses and networks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[1-6]?\d{1,4})?")
HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|[0-9a-f]*(:[0-9a-f.]*){2,}")
MAPPED = IPv6Network("::ffff:0:0/96")  # addresses of IPv4 on a socket of IPv6
PORT = re.compile(r":\d+$")
DEFAULT_PORT = re.compile(r"(?<=^http:)(//.*):80$|(?<=^https:)(//.*):443$")  # browsers leave these ports out


def check_origins(value: tuple[str, ...]) -> tuple[str, ...]:
    """The origins as browsers send them: in lower case, without a final slash or the default port of the scheme.

    Raises `ValueError` for one that no browser sends.
    """
    origins = [origin.lower().rstrip("/") for origin in value]
    if not all(map(ORIGIN.fullmatch, origins)):
        raise ValueError("each must be * or an origin such as https://example.com or http://localhost:3000, without a path")
    return tuple(DEFAULT_PORT.sub(r"\1\2", origin) for origin in origins)


def check_callback_origins(value: tuple[str, ...]) -> tuple[str, ...]:
    """As `check_origins`. Raises `ValueError`, too, for what is no single origin that HTTP reaches."""
    origins = check_origins(value)
    if not all(origin.startswith(("http://", "https://")) for origin in origins):
        raise ValueError("each must be an origin such as https://app.example.com; * and null open too much")
    return origins


def is_same_origin(origin: str, host: str, *, any_port: bool) -> bool:
    """Whether an origin's host and port are those of a `Host`, which leaves out the default port of the origin's scheme.

    any_port: if `Host` has no port, the origin may have any.
    """
    with suppress(ValueError):
        own, other = check_origins((f"{origin.partition('://')[0]}://{host}", origin))
        return own == (PORT.sub("", other) if any_port and not PORT.search(host) else other)
    return False


def check_hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    """The hosts as `Host` has them, without brackets and a final dot. Raises `ValueError` for what is no name or address."""
    hosts = [host.lower().removeprefix("[").removesuffix("]") for host in value]
    if not all(map(HOST.fullmatch, hosts)):
        raise ValueError("each must be a name or an address such as segment.example.com, without a scheme, a port and a path")
    return tuple(host.rstrip(".") for host in hosts)


def check_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    """The networks as a socket of both families sees them. Raises `ValueError`.

    Those of IPv4 are there as such and as mapped addresses (`::ffff:10.0.0.0/104`), which are in no network of IPv6.
    """
    networks = list[object]()
    for network in map(ip_network, value):
        if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
            network = IPv4Network((network.network_address.packed[-4:], network.prefixlen - MAPPED.prefixlen))
        if isinstance(network, IPv4Network):
            networks += [network, f"::ffff:{network.network_address}/{MAPPED.prefixlen + network.prefixlen}"]
        else:
            networks += network.address_exclude(MAPPED) if network.supernet_of(MAPPED) else [network]
    return tuple(map(str, networks))


def plain_address(host: str) -> str:
    """An address in its one spelling: without a zone, and IPv4 where IPv6 maps it (`::ffff:10.0.0.1`). Other text as it is."""
    with suppress(ValueError):
        address = ip_address(host.partition("%")[0])
        return str(getattr(address, "ipv4_mapped", None) or address)
    return host


def network_of(client: Sequence[object] | None) -> str:
    """Who a client is for fair turns: an address or, of IPv6, the network of 64 bits that one customer usually has.

    client: its address and port, as sockets and scopes of ASGI have them; of an unknown one the result is empty.
    """
    host = plain_address(str(client[0] if client else ""))
    with suppress(ValueError):
        return str(IPv6Network((host, 64), strict=False)) if ":" in host else host
    return host
