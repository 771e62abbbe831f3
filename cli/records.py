"""Records outcomes: rows in the table of results, then lines in the journal of answers that are done."""

from __future__ import annotations

from argparse import Namespace
from collections import deque
from collections.abc import Iterable

from cli.answers import Answers
from cli.report import INTERRUPTED, Outcome, Summary, print_line
from cli.resume import OTHER_SETTINGS, Journal
from cli.table import Row, Table, open_table


class Records:
    """Adds a row for each outcome to the table, and a line for each answer to the journal. For one thread. Raises `OSError`.

    It adds the line after it has written the row. So the next run does an image again whose row a killed run has lost.
    """

    def __init__(self, answers: Answers, table: Table, journal: Journal | None) -> None:
        self._answers, self._table, self._journal = answers, table, journal
        self._pending: deque[Outcome] = deque()

    def add(self, outcome: Outcome) -> None:
        """Records an outcome. A skipped image gets a row only if the table has none with its key."""
        if outcome.status == "skipped" and (outcome.key is None or self._table.has(outcome.key)):
            return
        self._pending.append(outcome)
        self._note(self._table.add(_row(outcome)))

    def close(self) -> None:
        """Writes the pending rows and lines, and closes the files."""
        self._note(self._table.close())
        if self._journal:
            self._journal.close()

    def _note(self, count: int) -> None:
        for _ in range(count):
            outcome = self._pending.popleft()
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
    records = Records(answers, open_table(args.results, args.shard, resume=args.resume, force=args.force), journal)
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


def _row(outcome: Outcome) -> Row:
    name, target, key, result = outcome.image.display_name, outcome.target, outcome.key, outcome.result
    if outcome.status in ("skipped", "kept"):
        return Row(name, target, problem=outcome.problem, key=key)
    milliseconds = round(outcome.seconds * 1000, 3)
    if result is None:
        return Row(name, None, milliseconds=milliseconds, problem=outcome.problem)
    height, width = result.size or (None, None)
    box = result.facts.get("box")
    return Row(name, target, width, height, result.shares, result.mean_confidence, milliseconds, key=key, box=box)
