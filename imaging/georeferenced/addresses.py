"""GDAL's settings for scenes at addresses."""

from __future__ import annotations

from collections.abc import Mapping


def address_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The endpoint for `s3://` that `AWS_ENDPOINT_URL` names, as GDAL's settings: it reads other variables than AWS's tools.

    Buckets are in the path, as with the other objects of the command line. Empty if `AWS_S3_ENDPOINT`, GDAL's own variable, is
    in the environment: then GDAL reads all of its variables itself.
    """
    address = environment.get("AWS_ENDPOINT_URL", "")
    if not address or "AWS_S3_ENDPOINT" in environment:
        return {}
    scheme, _, host = address.rpartition("://")
    return {
        "AWS_S3_ENDPOINT": host.rstrip("/"),
        "AWS_HTTPS": "NO" if scheme.lower() == "http" else "YES",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }
