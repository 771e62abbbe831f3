"""A table of results: a row for each image, in lines of JSON or in Parquet files, written in parts while a run goes on."""

from __future__ import annotations

import io
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from cli.input import Shard
from cli.lines import LineFile, remove_lines
from cli.places import join, names_below, remove, write_whole

ENDINGS = (".jsonl", ".parquet")
PART_ROWS, PART_S = 5000, 60.0  # of a Parquet file
INSTALL = "pip install 'fcn-segment[table]'"


@dataclass(frozen=True)
class Row:
    """The outcome of an image.

    name, target: of the image and of its answer. width, height: of the upright image, in pixels. classes: the share of the
    pixels of each class that is there, 0 to 1. mean_confidence: of all pixels, 0 to 1. milliseconds: from reading the image to
    the written answer. problem: why there is no answer. key: as in `cli.resume`. What is not known is None or empty.
    """

    name: str
    target: str | None
    width: int | None = None
    height: int | None = None
    classes: Mapping[str, float] = field(default_factory=dict)
    mean_confidence: float | None = None
    milliseconds: float | None = None
    problem: str | None = None
    key: str | None = None


class Table(Protocol):
    """Takes rows. For one thread. Raises `OSError`."""

    def add(self, row: Row) -> int:
        """Takes a row. The number of rows, from the oldest that waits, that now survive the end of this process."""
        ...

    def close(self) -> int:
        """Writes the rows that wait, and gives their number."""
        ...


def open_table(name: str | None, shard: Shard | None = None, *, resume: bool = False) -> Table:
    """The table of this name: `NAME.jsonl`, `NAME.parquet`, or none. Raises `OSError` for another ending.

    Several shards may write at once: each has its own file `NAME-I-of-N.jsonl`, or its own files in the folder `NAME.parquet`.
    Without `resume` a shard's earlier rows are removed; with it, rows are added.
    """
    if name is None:
        return NoTable()
    ending = os.path.splitext(name)[1]
    if ending not in ENDINGS:
        raise OSError(f"--results {name} must end in {' or '.join(ENDINGS)}")
    part = shard or Shard()
    if ending == ".jsonl":
        if part.count > 1:
            name = f"{name.removesuffix(ending)}-{part.index}-of-{part.count}{ending}"
        if not resume:
            remove_lines(name)
        return JsonLinesTable(name)
    return ParquetTable(name, part, resume=resume)


class NoTable:
    """Writes no table."""

    def add(self, row: Row) -> int:
        return 1

    def close(self) -> int:
        return 0


class JsonLinesTable:
    """A line of JSON for each row, in ASCII. Bytes of names that are not UTF-8 become lone surrogates."""

    def __init__(self, name: str) -> None:
        self._file = LineFile(name)
        self._waiting = 0

    def add(self, row: Row) -> int:
        self._waiting += 1
        return self._written() if self._file.append(json.dumps(asdict(row))) else 0

    def close(self) -> int:
        self._file.close()
        return self._written()

    def _written(self) -> int:
        written, self._waiting = self._waiting, 0
        return written


class ParquetTable:
    """Files `part-SHARD-RUN-NUMBER.parquet` in a folder, which readers of data sets take as one table."""

    def __init__(self, folder: str, shard: Shard, *, resume: bool) -> None:
        _pyarrow()  # fails before the work, not after it
        label = f"part-{shard.index:05}-of-{shard.count:05}"
        self._folder, self._prefix = folder, f"{label}-{secrets.token_hex(4)}"
        self._waiting: list[Row] = []
        self._number, self._since = 0, time.monotonic()
        for name in names_below(folder) if not resume else ():
            if name.startswith(f"{label}-"):
                with suppress(FileNotFoundError):
                    remove(join(folder, name))

    def add(self, row: Row) -> int:
        self._waiting.append(row)
        full = len(self._waiting) >= PART_ROWS or time.monotonic() - self._since > PART_S
        return self.close() if full else 0

    def close(self) -> int:
        written, self._waiting, self._since = self._waiting, [], time.monotonic()
        if written:
            write_whole(join(self._folder, f"{self._prefix}-{self._number:04}.parquet"), _parquet(written))
            self._number += 1
        return len(written)


def _parquet(rows: Sequence[Row]) -> bytes:
    pa = _pyarrow()
    schema = pa.schema(
        [
            ("name", pa.string()), ("target", pa.string()), ("width", pa.int32()), ("height", pa.int32()),
            ("classes", pa.map_(pa.string(), pa.float64())), ("mean_confidence", pa.float64()),
            ("milliseconds", pa.float64()), ("problem", pa.string()), ("key", pa.string()),
        ]
    )  # fmt: skip
    records = [
        asdict(row)
        | {"classes": list(row.classes.items())}
        | {name: _utf8(getattr(row, name)) for name in ("name", "target", "problem")}
        for row in rows
    ]
    buffer = io.BytesIO()
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(records, schema), buffer)
    return buffer.getvalue()


def _utf8(text: str | None) -> str | None:
    """The text with bytes that are not UTF-8 written as escapes: a Parquet string holds UTF-8 alone."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise OSError(f"a table in Parquet needs the package pyarrow; {INSTALL}, or name the table .jsonl") from error
    return pyarrow
