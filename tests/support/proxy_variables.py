"""Variables of proxies, certificates and TLS keys that cannot be used."""

from __future__ import annotations

import pytest

BROKEN_VARIABLES = {
    "socks": {"ALL_PROXY": "socks://proxy:1080"},
    "socks5 without its package": {"ALL_PROXY": "socks5://proxy:1080"},
    "no port": {"HTTP_PROXY": "http://proxy:port"},
    "no address": {"http_proxy": "http://[::1"},
    "brackets": {"NO_PROXY": "[::1]"},
    "no certificates": {"SSL_CERT_FILE": "/nowhere/at-all"},
    "no file of TLS keys": {"SSLKEYLOGFILE": "/nowhere/at-all"},
}


def remove_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
