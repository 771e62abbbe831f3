"""A table of results: a row for each image, in lines of JSON or in Parquet files, written in parts while a run goes on."""

from __future__ import annotations

import glob
import io
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from cli.hashes import HashMap
from cli.input import Shard
from cli.lines import PART_LINES, LineFile, part_names, read_lines, remove_lines
from cli.places import join, names_below, read_whole, remove, write_whole
from cli.stores import is_url
from common.command_line import install_command
from common.whole_file import begins_with, check_output

ENDINGS = (".jsonl", ".parquet")
JSON_LINES_SHARD = re.compile(r"\d+-of-(\d+)")
ROW = rb'(?s)\{"name": "(.*", "target": |[^\n]*\Z)'
PARQUET_PART = re.compile(r"part-\d+-of-(\d+)-")


Row = Mapping[str, Any]
"""What is known of an image, as `Outcome.row` gives it."""


class Table:
    """Takes rows, on one thread. Methods raise `OSError`. This one, which others extend, keeps none.

    at_once: how many rows a call of `write` is for. keys: of the rows of earlier runs.
    """

    at_once = 1

    def __init__(self, keys: Iterable[str | None] = ()) -> None:
        self._keys = HashMap()
        for key in filter(None, keys):
            self._keys.set(key, 1)

    def has(self, key: str) -> bool:
        """Whether the table has a row with this key from an earlier run."""
        return self._keys.get(key) is not None

    def write(self, rows: Sequence[Row]) -> None:
        """Writes rows, one at least."""

    def close(self) -> None:
        """Closes the table's file."""


def open_table(name: str, shard: Shard | None = None, *, resume: bool = False, force: bool = False) -> Table:
    """The table of this name: `NAME.jsonl` or `NAME.parquet`.

    Several shards may write at once: each has its own file `NAME-I-of-N.jsonl` (below a URL, objects `NAME/I-of-N/...`), or its
    own files in the folder `NAME.parquet`. Without `resume` it removes the shard's earlier rows; with it, it keeps them, and 16
    bytes of each in memory. Raises `OSError` for another ending, if the table has rows of another number of shards, and without
    `force` if a file has other lines than rows.
    """
    ending = os.path.splitext(name)[1]
    if ending not in ENDINGS:
        raise OSError(f"--results {name} must end in {' or '.join(ENDINGS)}")
    shard = shard or Shard()
    if ending == ".jsonl":
        return JsonLinesTable(name, shard, resume=resume, force=force)
    return ParquetTable(name, shard, resume=resume)


class JsonLinesTable(Table):
    """A line of JSON for each row, in ASCII. Bytes of names that are not UTF-8 become lone surrogates."""

    def __init__(self, name: str, shard: Shard, *, resume: bool, force: bool) -> None:
        _check_shards(name, shard, _json_lines_counts(name))
        if shard.count > 1:
            separator = "/" if is_url(name) else "-"
            name = f"{name.removesuffix('.jsonl')}{separator}{shard.index}-of-{shard.count}.jsonl"
        if not is_url(name):
            check_output(name, None if force else begins_with(ROW))
        elif not resume:
            remove_lines(name)
        super().__init__(_json_lines_keys(name) if resume else ())
        self.at_once = PART_LINES if is_url(name) else 1  # a store writes objects whole
        self._file = LineFile(name, fresh=not (resume or is_url(name)))

    def write(self, rows: Sequence[Row]) -> None:
        self._file.append("\n".join(json.dumps(row) for row in rows))
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class ParquetTable(Table):
    """Files `part-SHARD-RUN-NUMBER.parquet` in a folder. Libraries such as pyarrow read the folder as one table."""

    at_once = 5000

    def __init__(self, folder: str, shard: Shard, *, resume: bool) -> None:
        _pyarrow()  # fails before the work, not after it
        label = f"part-{shard.index:05}-of-{shard.count:05}"
        self._folder, self._prefix = folder, f"{label}-{secrets.token_hex(4)}"
        if not is_url(folder):
            check_output(join(folder, f"{self._prefix}.parquet"))
        self._number = 0
        names = names_below(folder)
        _check_shards(folder, shard, {int(match[1]) for name in names if (match := PARQUET_PART.match(name))})
        mine = [join(folder, name) for name in names if re.fullmatch(rf"{label}-[0-9a-f]{{8}}-\d{{4,}}\.parquet", name)]
        for name in mine if not resume else ():
            with suppress(FileNotFoundError):
                remove(name)
        super().__init__(_parquet_keys(mine) if resume else ())

    def write(self, rows: Sequence[Row]) -> None:
        write_whole(join(self._folder, f"{self._prefix}-{self._number:04}.parquet"), _parquet(rows))
        self._number += 1


def _check_shards(name: str, shard: Shard, counts: set[int]) -> None:
    """Raises `OSError` if the table has rows of a run with another number of shards: both would have a row for each image."""
    if others := counts - {shard.count}:
        raise OSError(
            f"--results {name} has rows of a run with {min(others)} shards, and this run has {shard.count}; "
            "remove them, or give another name"
        )


def _json_lines_counts(name: str) -> set[int]:
    """The numbers of shards whose rows a table of JSON lines has."""
    stem = name.removesuffix(".jsonl")
    if is_url(name):
        return {int(match[1]) if (match := JSON_LINES_SHARD.match(part)) else 1 for part in names_below(stem)}
    endings = [each[len(stem) + 1 : -len(".jsonl")] for each in glob.glob(f"{glob.escape(stem)}-*.jsonl")]
    counts = {int(match[1]) for each in endings if (match := JSON_LINES_SHARD.fullmatch(each))}
    return counts | ({1} if os.path.exists(name) else set())


def _json_lines_keys(name: str) -> Iterator[str | None]:
    for line in read_lines(part_names(name)):
        with suppress(ValueError, KeyError, TypeError):  # a line that a killed process left incomplete
            yield json.loads(line)["key"]


def _parquet_keys(names: Iterable[str]) -> Iterator[str | None]:
    _pyarrow()
    from pyarrow import parquet

    for name in names:
        data = io.BytesIO(read_whole(name)[0])
        try:
            keys = parquet.read_table(data, columns=["key"])["key"].to_pylist()
        except ValueError as error:  # of which `pyarrow.ArrowInvalid` is one
            raise OSError(f"{name} is no part of a table ({error}); remove it, and its images get rows again") from error
        yield from keys


def _parquet(rows: Sequence[Row]) -> bytes:
    pa = _pyarrow()
    schema = pa.schema(
        [
            ("name", pa.string()), ("target", pa.string()), ("width", pa.int32()), ("height", pa.int32()),
            ("classes", pa.map_(pa.string(), pa.float64())), ("mean_confidence", pa.float64()),
            ("milliseconds", pa.float64()), ("problem", pa.string()), ("key", pa.string()),
            ("box", pa.list_(pa.int32())),
        ]
    )  # fmt: skip
    records = [
        {**row, "classes": list(row["classes"].items())} | {name: _utf8(row[name]) for name in ("name", "target", "problem")}
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
        raise OSError(
            f"a table in Parquet needs the package pyarrow: {install_command('table')}, or name the table .jsonl"
        ) from error
    return pyarrow
