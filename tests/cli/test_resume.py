"""The journal of answers that are done: keys, settings, shards, and what a killed process leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.answers import Answers
from cli.input import Shard
from cli.resume import Journal, answer_key, settings_digest


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    return Answers(str(tmp_path / "out"), ".png")


def note(journal: Journal, *names: str, version: str = "1") -> None:
    for name in names:
        journal.append(f"{name}.png", answer_key("s", f"{name}.jpg", version, f"{name}.png"), "7 1")
    journal.close()


def journals(answers: Answers) -> list[Path]:
    return [path for path in Path(answers.out).rglob("*") if path.is_file()]


def is_done(journal: Journal, name: str, version: str = "1") -> bool:
    return journal.has(f"{name}.png", answer_key("s", f"{name}.jpg", version, f"{name}.png"), "7 1")


def test_what_was_noted_is_done_and_another_version_is_not(answers: Answers) -> None:
    note(Journal(answers, "s"), "a", "b")
    journal = Journal(answers, "s")
    assert [is_done(journal, "a"), is_done(journal, "b"), is_done(journal, "c")] == [True, True, False]
    assert not is_done(journal, "a", version="2")
    assert not is_done(Journal(answers, "s", resume=False), "a")


def test_a_file_that_was_overwritten_is_not_done(answers: Answers) -> None:
    note(Journal(answers, "s"), "a")
    key = answer_key("s", "a.jpg", "1", "a.png")
    journal = Journal(answers, "s")
    assert [journal.has("a.png", key, file_version) for file_version in ("7 1", "8 1", "7 2", "")] == [
        True,
        False,
        False,
        False,
    ]


def test_the_latest_key_of_an_answer_counts(answers: Answers) -> None:
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
    other.append("a.png", answer_key("u", "a.jpg", "1", "a.png"), "7 1")
    other.close()
    journal = Journal(answers, "s")
    assert [is_done(journal, "a"), is_done(journal, "b")] == [False, True]
    assert is_done(Journal(documents, "t"), "a"), "answers with another ending have journals of their own"


def test_shards_with_unlike_settings_keep_each_others_journals(answers: Answers) -> None:
    first = Journal(answers, "s", Shard(0, 2))
    first.append("a.png", answer_key("s", "a.jpg", "1", "a.png"), "7 1")
    note(Journal(answers, "u", Shard(1, 2)), "b")
    first.append("c.png", answer_key("s", "c.jpg", "1", "c.png"), "7 1")
    first.close()
    journal = Journal(answers, "s", Shard(0, 2))
    assert [is_done(journal, "a"), is_done(journal, "c")] == [True, True]


def test_a_journal_knows_whether_the_last_run_had_other_settings(answers: Answers) -> None:
    assert not Journal(answers, "s").other_settings
    note(Journal(answers, "s"), "a")
    assert [Journal(answers, digest, resume=False).other_settings for digest in "su"] == [False, True]
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


def test_names_that_are_not_utf_8_are_noted(answers: Answers) -> None:
    note(Journal(answers, "s"), "caf\udce9")
    assert is_done(Journal(answers, "s"), "caf\udce9")


def test_settings_differ_by_each_fact() -> None:
    assert settings_digest("a", 1) == settings_digest("a", 1)
    assert len({settings_digest("a", 1), settings_digest("a", 2), settings_digest("b", 1), settings_digest("a")}) == 4
