"""The journal of answers: keys, marks of bytes, settings, shards, and what a killed process leaves."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path

import pytest

from cli.answers import Answers, Marks
from cli.input import Shard
from cli.resume import Journal, Notes, answer_key

MARKS = Marks("7 1000000001", "aa")
NOT_UTF_8 = "caf\udce9"


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    return Answers(str(tmp_path / "out"), ".png")


def note(journal: Journal, *names: str, version: str = "1", marks: Marks = MARKS) -> None:
    for name in names:
        journal.append(f"{name}.png", answer_key("s", f"{name}.jpg", version, f"{name}.png"), marks)
    journal.close()


def journals(answers: Answers) -> list[Path]:
    return [path for path in Path(answers.out).rglob("*") if path.is_file()]


def is_done(journal: Journal, name: str, version: str = "1", mark: str = MARKS.version) -> bool:
    return journal.notes.has(f"{name}.png", mark, answer_key("s", f"{name}.jpg", version, f"{name}.png"))


def test_what_was_noted_is_done_and_another_version_or_a_file_with_other_marks_is_not(answers: Answers) -> None:
    note(Journal(answers, "s"), "a", "b", NOT_UTF_8)
    journal = Journal(answers, "s")
    assert [is_done(journal, name) for name in ("a", "b", "c", NOT_UTF_8)] == [True, True, False, True]
    assert not is_done(journal, "a", version="2")
    assert all(is_done(journal, "a", mark=mark) for mark in (MARKS.version, MARKS.sha256))
    assert not any(is_done(journal, "a", mark=mark) for mark in ("8 1", "bb", ""))


def test_the_latest_key_of_an_answers_bytes_counts(answers: Answers) -> None:
    note(Journal(answers, "s"), "a", version="1")
    note(Journal(answers, "s"), "a", version="2")
    journal = Journal(answers, "s")
    assert (is_done(journal, "a", version="1"), is_done(journal, "a", version="2")) == (False, True)


def test_shards_write_files_of_their_own_and_each_reads_all(answers: Answers) -> None:
    shards = [Journal(answers, "s", Shard(index, 2)) for index in range(2)]
    for shard, name in zip(shards, "ab", strict=True):
        note(shard, name)
    assert len(journals(answers)) == 2
    assert all(is_done(Journal(answers, "s", Shard(index, 3)), name) for index in range(3) for name in "ab")


def test_a_note_of_other_settings_counts_for_its_answer_alone(answers: Answers) -> None:
    documents = Answers(answers.out, ".json")
    note(Journal(answers, "s"), "a", "b")
    note(Journal(documents, "t"), "a")
    other = Journal(answers, "u")
    other.append("a.png", answer_key("u", "a.jpg", "1", "a.png"), MARKS)
    other.close()
    journal = Journal(answers, "s")
    assert [is_done(journal, "a"), is_done(journal, "b")] == [False, True]
    assert is_done(Journal(documents, "t"), "a"), "answers with another ending have journals of their own"


def test_shards_with_unlike_settings_keep_each_others_journals(answers: Answers) -> None:
    first = Journal(answers, "s", Shard(0, 2))
    first.append("a.png", answer_key("s", "a.jpg", "1", "a.png"), MARKS)
    note(Journal(answers, "u", Shard(1, 2)), "b")
    first.append("c.png", answer_key("s", "c.jpg", "1", "c.png"), MARKS)
    first.close()
    journal = Journal(answers, "s", Shard(0, 2))
    assert [is_done(journal, "a"), is_done(journal, "c")] == [True, True]


def test_a_journal_knows_whether_the_last_run_had_other_settings(answers: Answers) -> None:
    assert not Journal(answers, "s").other_settings
    note(Journal(answers, "s"), "a")
    assert [Journal(answers, digest).other_settings for digest in "su"] == [False, True]
    note(Journal(answers, "u"), "a")
    assert [Journal(answers, digest).other_settings for digest in "su"] == [True, False]


@pytest.mark.parametrize("line", [b'{"answer": "c.p', b"\xff\xfe", b"[]\n", b'{"answer": 1, "key": "x"}\n', b"null"])
def test_a_torn_line_is_ignored_and_what_follows_is_read(line: bytes, answers: Answers) -> None:
    note(Journal(answers, "s"), "a", "b")
    (path,) = journals(answers)
    with path.open("ab") as file:
        file.write(line)
    note(Journal(answers, "s"), "d")
    journal = Journal(answers, "s")
    assert [is_done(journal, name) for name in "abd"] == [True, True, True]


def test_a_discarded_journal_knows_the_bytes_and_no_key(answers: Answers) -> None:
    journal = Journal(answers, "s")
    note(journal, "a")
    journal.discard()
    later = Journal(answers, "s")
    assert not is_done(later, "a")
    assert later.notes.knows("a.png", MARKS.sha256)


def state(tmp_path: Path, *lines: dict[str, str], data: bytes | None = b"mask") -> str:
    target = tmp_path / "a.png"
    if data is not None:
        target.write_bytes(data)
        os.utime(target, ns=(2_500_000_000, 2_500_000_000))
    notes = Notes()
    for line in lines:
        notes.read(json.dumps({"answer": "a.png"} | line).encode())
    return notes.state("a.png", str(target))


MASK = sha256(b"mask").hexdigest()


def test_bytes_that_some_run_wrote_are_ours_and_no_others(tmp_path: Path) -> None:
    assert state(tmp_path, {"sha256": MASK}, data=None) == "missing"
    assert state(tmp_path) == "unknown"
    assert state(tmp_path, {"sha256": MASK}) == "ours"
    assert state(tmp_path, {"sha256": MASK}, {"sha256": "0"}) == "ours", "a run was killed before it wrote its own"
    assert state(tmp_path, {"sha256": "0"}) == "changed"
    assert state(tmp_path, {"sha256": "0", "written": "4 2500000000", "key": "k"}) == "changed", "size and time alike"
    assert state(tmp_path, {}) == "changed", "a run kept it"
