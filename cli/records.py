"""Records outcomes: rows in the table of results, then lines in the journal of answers that are done; and `--rank`."""

from __future__ import annotations

import os
import re
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path

from cli.answers import Answers
from cli.image_names import ENDINGS
from cli.input import STDIO
from cli.inputs import Listing
from cli.places import is_path, write_whole
from cli.report import INTERRUPTED, Outcome, Result, Summary, print_line, write_stdout
from cli.resume import OTHER_SETTINGS, Journal
from cli.table import Table, open_table
from cli.web import is_web
from common.whole_file import begins_with, check_output
from imaging.classes import is_background

RANKING = f"(?i)(stdin|https?://.*|.*({'|'.join(map(re.escape, ENDINGS))}))\r?\n".encode()  # a line that names an image
LONGEST_S = 60.0  # that rows wait for others, if the table writes many at once


class Records:
    """Adds a row for each outcome to the table, and a line for each answer to the journal. For one thread. Raises `OSError`.

    It adds the line after it has written the row. So the next run does an image again whose row a killed run has lost.
    """

    def __init__(self, answers: Answers, table: Table | None, journal: Journal | None) -> None:
        self._answers, self._table, self._journal = answers, table, journal
        self._outcomes: list[Outcome] = []
        self._since = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        """Records an outcome. A skipped image gets a row only if the table has none with its key."""
        if outcome.status == "skipped" and not (outcome.key and self._table and not self._table.has(outcome.key)):
            return
        self._outcomes.append(outcome)
        if not self._table or len(self._outcomes) >= self._table.at_once or time.monotonic() - self._since > LONGEST_S:
            self._write()

    def close(self) -> None:
        """Writes the pending rows and lines, and closes the files."""
        self._write()
        if self._table:
            self._table.close()
        if self._journal:
            self._journal.close()

    def _write(self) -> None:
        outcomes, self._outcomes, self._since = self._outcomes, [], time.monotonic()
        if self._table and outcomes:
            self._table.write([outcome.row() for outcome in outcomes])
        for outcome in outcomes:
            # a file that has changed is in the journal already, and one that was kept without an answer's result is such
            if self._journal and outcome.status in ("done", "kept") and outcome.result:
                self._journal.append(self._answers.relative(outcome.image), outcome.key, outcome.marks)


def open_records(args: Namespace, answers: Answers, digest: str | None, summary: Summary) -> tuple[Records, Journal | None]:
    """Opens the journal, if there are several answers, and the table of results; removes what killed runs left.

    args: of the command: results, resume, shard. digest: as of `Journal`. Raises `OSError` for a folder or a table that cannot
    be written.
    """
    journal = None
    if not answers.file:
        answers.check()
        journal = Journal(answers, digest, args.shard)
        if journal.other_settings and (args.resume or args.shard):
            summary.tell(f"{answers.out}: {OTHER_SETTINGS}")
    table = open_table(args.results, args.shard, resume=args.resume, force=args.force) if args.results is not None else None
    records = Records(answers, table, journal)
    answers.remove_partials()
    return records, journal


def record_all(
    outcomes: Iterable[Outcome], records: Records, summary: Summary, *, resumable: bool = True, json: bool = False
) -> int:
    """Records and counts outcomes as they come, closes the records, and returns the exit status.

    resumable: whether `--resume` would go on with this run. json: whether to print a line for each outcome.
    """
    try:
        _record(outcomes, records, summary, json=json)
    except KeyboardInterrupt:
        summary.tell(f"interrupted; answers that were written are whole{', and --resume does the rest' if resumable else ''}")
        return INTERRUPTED
    return summary.finish(resumable)


def _record(outcomes: Iterable[Outcome], records: Records, summary: Summary, *, json: bool) -> None:
    try:
        for outcome in outcomes:
            records.add(outcome)
            summary.add(outcome)
            if json:
                print_line(outcome.line())
    finally:
        records.close()


class Ranking:
    """`--rank`: orders the images of a run by the mean confidence of their pixels, the lowest first. For one thread.

    name: of the file or object to write, `-` for stdout. by: `background` puts the largest share of it first. The names stay in
    memory until `write`. Failed images are left out.
    Raises `OSError` for a folder, a web address, a file that is one of the images, one that cannot be written, and without
    `force` for one that does not begin with the name of an image.
    """

    def __init__(self, name: str, listing: Listing, *, by: str | None = None, force: bool = False) -> None:
        is_file = is_path(name) and name != STDIO
        if is_web(name) or (is_file and os.path.isdir(name)):
            raise OSError(f"--rank {name} must be a file or an object; give one, such as ranking.txt")
        if is_file and listing.holds(Path(name)):
            raise OSError(f"--rank {name} would overwrite an image; give another file")
        if is_file:
            check_output(name, None if force else begins_with(RANKING))
        self._name, self._by = name, by
        self._images: list[tuple[float, str]] = []

    def passing(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        """The same outcomes; keeps the name and the place of each. Raises `OSError` for a network without confidence."""
        for outcome in outcomes:
            if outcome.result:
                self._images.append((self._value(outcome.result), outcome.image.name))
            yield outcome

    def _value(self, result: Result) -> float:
        if self._by == "background":
            return -float(sum(share for name, share in result.row["classes"].items() if is_background(name)))
        if (confidence := result.row["mean_confidence"]) is None:
            raise OSError("--rank needs confidence, and this network gives class ids alone; give --rank-by background")
        return float(confidence)

    def write(self) -> None:
        """Writes the names, one on each line. Equal images keep their order. Raises `OSError` if none has background."""
        if self._by == "background" and not any(value for value, _ in self._images):
            raise OSError("--rank-by background: no image shows a class named background, so all are equal; leave it out")
        names = [name for _, name in sorted(self._images, key=lambda image: image[0])]
        data = b"".join(os.fsencode(name) + b"\n" for name in names)
        if self._name == STDIO:
            write_stdout(data)
        else:
            write_whole(self._name, data)
