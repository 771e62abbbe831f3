"""Records outcomes: rows in the table of results, then lines in the journal of answers that are done."""

from __future__ import annotations

from collections import deque

from cli.answers import Answers
from cli.report import Outcome
from cli.resume import Journal
from cli.table import Row, Table


class Records:
    """For one thread. Raises `OSError`.

    An answer is noted as done only after its row is safe, so that a killed run never leaves an answer without a row.
    """

    def __init__(self, answers: Answers, table: Table, journal: Journal | None) -> None:
        self._answers, self._table, self._journal = answers, table, journal
        self._waiting: deque[Outcome] = deque()

    def add(self, outcome: Outcome) -> None:
        """Records an outcome. An answer that was skipped has been recorded by an earlier run."""
        if outcome.status == "skipped":
            return
        self._waiting.append(outcome)
        self._note(self._table.add(_row(outcome)))

    def close(self) -> None:
        """Writes what waits."""
        self._note(self._table.close())
        if self._journal:
            self._journal.close()

    def _note(self, count: int) -> None:
        for _ in range(count):
            outcome = self._waiting.popleft()
            if self._journal and outcome.key and outcome.status == "done":
                self._journal.append(self._answers.relative(outcome.image), outcome.key)


def _row(outcome: Outcome) -> Row:
    segmented, milliseconds = outcome.segmented, round(outcome.seconds * 1000, 3)
    name, target = outcome.image.display_name, outcome.target
    if segmented is None:
        return Row(name, None, milliseconds=milliseconds, problem=outcome.error)
    height, width = segmented.size or (None, None)
    return Row(
        name, target, width, height, segmented.shares, segmented.mean_confidence, milliseconds=milliseconds, key=outcome.key
    )
