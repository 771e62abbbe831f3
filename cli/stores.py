"""Objects of `s3://`, `gs://` and `az://` URLs, through the package obstore (extra `cloud`).

Keys, regions and endpoints come from the environment, by the names that each provider's tools use. Any thread may call these
functions. They raise `FileNotFoundError` if the object does not exist, `StoreUnavailable` if every object would have the same
error, and `OSError` for all other errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from common.command_line import install_command
from common.printable import first_line

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")
PAGE = 1000  # objects in one answer of a store
MOST_BYTES = 1 << 30


class StoreUnavailable(OSError):
    """The store does not answer, or does not know the bucket or the key."""


@dataclass(frozen=True)
class StoredObject:
    """An object in a listing.

    key: below the bucket. version: changes when the content does. size: bytes.
    """

    key: str
    version: str
    size: int


def is_url(name: str) -> bool:
    """Whether the name is a URL of an object store, and not a file's."""
    scheme, separator, _ = name.partition("://")
    return bool(separator) and scheme in SCHEMES


def split_url(url: str) -> tuple[str, str]:
    """The bucket's URL, and the key without outer slashes. Raises `OSError` without a bucket."""
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise OSError(f"{url} names no bucket; give {scheme}://BUCKET/NAME")
    return f"{scheme}://{bucket}", key.strip("/")


def is_below(url: str, folder: str) -> bool:
    """Whether a URL names something in a folder, or the folder itself."""
    return f"{url.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")


def list_objects(url: str) -> Iterator[StoredObject]:
    """Lists the objects below a URL, in the order of their keys, with at most a few pages of them in memory."""
    with _object(url) as (store, prefix):
        for page in store.list(prefix or None, chunk_size=PAGE):
            for entry in page:
                yield StoredObject(entry["path"], _version(entry["size"], entry["e_tag"]), entry["size"])


def folder_names(url: str) -> list[str]:
    """The names of the objects in the folder of this URL, without those of folders below it."""
    with _object(url) as (store, prefix):
        return [entry["path"].rpartition("/")[2] for entry in store.list_with_delimiter(prefix or None)["objects"]]


def read_object(url: str) -> tuple[bytes, str]:
    """The object's bytes and its version."""
    with _object(url) as (store, key):
        result = store.get(key)
        check_size(result.meta["size"])
        return bytes(result.bytes()), _version(result.meta["size"], result.meta["e_tag"])


def object_version(url: str) -> str:
    """The object's version."""
    with _object(url) as (store, key):
        entry = store.head(key)
        return _version(entry["size"], entry["e_tag"])


def write_object(url: str, data: bytes) -> str:
    """Writes the object whole or not at all, and gives its version.

    Raises `StoreUnavailable` also if the keys may not write there.
    """
    try:
        with _object(url) as (store, key):
            return _version(len(data), store.put(key, data)["e_tag"])
    except PermissionError as error:
        raise StoreUnavailable(str(error)) from error


def delete_object(url: str) -> None:
    """Deletes the object."""
    with _object(url) as (store, key):
        store.delete(key)


def check_size(count: int) -> None:
    """Raises `OSError` for a file or an object of more than `MOST_BYTES`, which is read whole."""
    if count > MOST_BYTES:
        raise OSError(f"it has {count / 1e6:,.0f} MB; at most {MOST_BYTES / 1e6:,.0f} MB are read")


def _version(size: int, e_tag: str | None) -> str:
    return f"{size} {(e_tag or '').strip(chr(34))}"


@lru_cache(maxsize=64)
def _store(bucket: str) -> ObjectStore:
    from obstore.store import from_url

    return from_url(bucket, client_options={"allow_http": True})  # where the environment's endpoint is http://


@contextmanager
def _object(url: str) -> Iterator[tuple[ObjectStore, str]]:
    """The store and the key of a URL. Turns the errors of obstore, which have many lines, into `OSError`s of one."""
    bucket, key = split_url(url)
    try:
        from obstore.exceptions import BaseError, InvalidPathError, PermissionDeniedError
    except ImportError as error:
        raise StoreUnavailable(f"{url} needs the package obstore: {install_command('cloud')}") from error
    try:
        yield _store(bucket), key
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no object {url}") from error
    except PermissionDeniedError as error:
        raise PermissionError(f"{url}: permission denied; see the store's policy for these keys") from error
    except InvalidPathError as error:  # a key with an empty part, such as `a//b.jpg`
        raise OSError(f"{url}: {first_line(error)}; rename it, or name the images with --from-file") from error
    except ValueError as error:
        raise OSError(f"{url}: {first_line(error)}") from error
    except BaseError as error:
        raise StoreUnavailable(f"{url}: {first_line(error)}; see address, bucket and keys in the environment") from error
