"""An object store for the commands that name `s3://photos` and `s3://masks`: moto's server of the S3 interface."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

from tests.support.checkout import ROOT

NAMES = ("chelsea", "coffee")


@contextmanager
def object_store(folder: Path) -> Iterator[dict[str, str]]:
    """Yields the variables of a store whose bucket `photos` has two photos below `2026`, and whose bucket `masks` is empty.

    Afterwards, what `masks` holds lies in the folder.
    """
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address, keys = f"http://{host}:{port}", {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    client = boto3.client("s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s")
    try:
        with closing(client):
            for bucket in ("photos", "masks"):
                client.create_bucket(Bucket=bucket)
                for entry in client.list_objects_v2(Bucket=bucket).get("Contents", ()):  # moto's servers share their objects
                    client.delete_object(Bucket=bucket, Key=entry["Key"])
            for name in NAMES:
                client.upload_file(str(ROOT / "docs" / "photos" / f"{name}.jpg"), "photos", f"2026/{name}.jpg")
            yield keys | {"AWS_ENDPOINT_URL": address, "AWS_REGION": "us-east-1"}
            for entry in client.list_objects_v2(Bucket="masks").get("Contents", ()):
                path = folder / "s3-masks" / entry["Key"]
                path.parent.mkdir(parents=True, exist_ok=True)
                client.download_file("masks", entry["Key"], str(path))
    finally:
        server.stop()
