"""Fetches the images of tasks. Label Studio's key is sent to Label Studio alone."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import quote

import httpx

from fcn_client import address, bodies
from fcn_client.errors import FetchFailed
from fcn_client.fetching import fetch, is_address

CLOUD = ("s3://", "gs://", "azure-blob://")
REFRESH = "api/token/refresh"
MOST_TOKEN_BYTES = 1 << 20
SETUP_S = 2.5  # Label Studio waits 3 s for `/setup`, unless its ML_TIMEOUT_SETUP says otherwise


@dataclass(frozen=True)
class Studio:
    """Label Studio's address and a key of one of its users; each may be empty."""

    url: str = ""
    key: str = ""

    def fetch(self, image: str, *, task: int | None, timeout: float) -> bytes:
        """The bytes of a task's image. Blocks. Raises `FetchFailed`.

        image: what stands in the task's data. It is an address, a path of Label Studio (`/data/upload/...`,
        `/data/local-files/?d=...`), or an object of cloud storage (`s3://...`), which Label Studio presigns. task: the task's
        number. timeout: seconds.
        """
        url = self._address(image, task)
        is_own = bool(self.url) and self._is_own(url)
        headers = {"Authorization": self._authorization(timeout)} if self.key and is_own else {}
        try:
            return fetch(url, timeout=timeout, headers=headers)[1]
        except FetchFailed as error:
            if is_own:
                raise FetchFailed(f"{error}; see that LABEL_STUDIO_API_KEY is a key of a user who may see it") from error
            raise

    def _address(self, image: str, task: int | None) -> str:
        if is_address(image):
            return image
        if not self.url:
            raise FetchFailed(f"{image[:100]!r} must come from Label Studio, whose address is not known; set LABEL_STUDIO_URL")
        if image.startswith(CLOUD):
            address = base64.urlsafe_b64encode(image.encode(errors="replace")).decode()
            return self._below(f"tasks/{task}/presign/?fileuri={quote(address)}")
        if image.startswith(("upload/", "/upload/")):
            return self._below("data/" + image.lstrip("/"))
        if image.startswith("/"):
            return self._below(image.lstrip("/"))
        raise FetchFailed(f"{image[:100]!r} is no image's address; a task's data must have https://..., /data/... or s3://...")

    def _below(self, path: str) -> str:
        return f"{self.url.rstrip('/')}/{path}"

    def _is_own(self, url: str) -> bool:
        try:
            own, other = httpx.URL(self.url), httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            return False  # `fetch` raises for it
        return (own.scheme, own.host, own.port) == (other.scheme, other.host, other.port)

    def _authorization(self, timeout: float) -> str:
        """The header's value. A personal access token (JWT) is exchanged for a short-lived one; a legacy one is sent as is."""
        if self.key.count(".") != 2:
            return f"Token {self.key}"
        transport = httpx.HTTPTransport() if address.is_this_machine(httpx.URL(self.url).host) else None
        try:
            with (
                httpx.Client(transport=transport, timeout=timeout, headers=address.headers(None)) as client,
                client.stream("POST", self._below(REFRESH), json={"refresh": self.key}) as response,
            ):
                answer = bodies.read(response, MOST_TOKEN_BYTES).raise_for_status()
            return f"Bearer {answer.json()['access']}"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise FetchFailed(f"Label Studio refuses the key in LABEL_STUDIO_API_KEY: {reason}; make a new one") from error
