"""What earlier runs have written: journals below the output folder, with the key, version and sha256 of each answer.

A key is a hash of all that an answer's bytes depend on: the image's name and version, the answer's name, the options, the
loaded file, runtime, precision and instructions, and the version of this package. `--resume` skips an answer that has the bytes
that were written with the key that it would have now. A run replaces answers that have the bytes that some run wrote, and no
others.

Each process appends to a file of its own, `.fcn-segment/ENDING-DIGEST/START-SHARD-PROCESS.jsonl`: a line with the sha256
before it writes an answer, so that a killed process loses none, and a line with all facts after it. So shards need no lock. No
process removes a journal, since another one may still write it.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from hashlib import sha256
from typing import Any, Literal

from cli.answers import STATE, Answers, Marks
from cli.hashes import HashMap, hash_of
from cli.input import Input, Shard
from cli.lines import LineFile, part_names, read_lines
from cli.places import join, names_below, read_whole, version
from cli.stores import is_url
from common.whole_file import PROCESS, open_descriptor

KEY_LENGTH = 32  # hexadecimal digits
OTHER_SETTINGS = "the last run there had other options, weights, runtime, precision or version; its answers may differ"
CHANGED = "it has changed since it was written, and is kept; --force replaces it"
UNKNOWN = "it is not the answer of this run, nor known to be that of another, and is kept; --force replaces it"
KNOWN = "known"
State = Literal["missing", "ours", "changed", "unknown"]


def answer_key(digest: str, image: str, version: str, answer: str) -> str:
    """The key of an answer. digest: of `settings_digest`. image, version: `Input.full_name` and version. answer: its name."""
    return sha256(json.dumps([image, version, answer, digest]).encode()).hexdigest()[:KEY_LENGTH]


class Notes:
    """What the journals of an output folder say. It keeps 48 bytes of memory for each answer. Any thread may call it.

    Maps an answer's name and a mark of its bytes, their version or their sha256, to the key that they were written with.
    """

    def __init__(self) -> None:
        self._keys = HashMap()

    def read(self, line: bytes) -> None:
        """Adds a line of a journal. A torn line adds nothing."""
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            note = json.loads(line)
            for mark in {KNOWN, note.get("sha256"), note.get("written")} - {None}:
                self._keys.set(f"{note['answer']} {mark}", hash_of(note.get("key") or ""))

    def has(self, answer: str, mark: str, key: str) -> bool:
        """Whether these bytes of the answer were last written with this key."""
        return self._keys.get(f"{answer} {mark}") == hash_of(key)

    def knows(self, answer: str, mark: str = KNOWN) -> bool:
        """Whether a run wrote these bytes of the answer; without a mark, whether any mark of the answer is known."""
        return self._keys.get(f"{answer} {mark}") is not None

    def state(self, answer: str, target: str) -> State:
        """Whether the answer is there, and what is known of its bytes. target: its path or URL. Raises `OSError`."""
        now = _version(target)
        if now is None or open_descriptor(target) is not None:
            return "missing"
        if not self.knows(answer):
            return "unknown"
        is_ours = (is_url(target) and self.knows(answer, now)) or self.knows(answer, _sha256(target))
        return "ours" if is_ours else "changed"


class Journal:
    """The journal of a run's answers. Any thread may call it, but `append` and `close` only one at a time.

    digest: of `settings_digest`; None if answers have no keys. notes: of the journals of all earlier runs whose answers have
    this ending, in the order of their starts. Raises `OSError`.
    """

    def __init__(self, answers: Answers, digest: str | None, shard: Shard | None = None) -> None:
        self.notes = Notes()
        self._folder, self._ending = join(answers.out, STATE), answers.suffix.removeprefix(".")
        self._digest, self._shard = digest or "unknown", shard or Shard()
        names = [name for name in names_below(self._folder) if name.startswith(f"{self._ending}-") and name.endswith(".jsonl")]
        names.sort(key=lambda name: name.partition("/")[2])
        self.other_settings = bool(names) and not names[-1].startswith(f"{self._ending}-{self._digest}/")
        """Whether the last run that wrote such answers had another digest."""
        for line in read_lines(join(self._folder, name) for name in names):
            self.notes.read(line)
        self._name = self._new_name()
        self._file, self._lock = LineFile(self._name), threading.Lock()

    def begin(self, answer: str, sha256: str) -> None:
        """Notes that bytes with this sha256 will be written."""
        self._write({"answer": answer, "sha256": sha256})

    def append(self, answer: str, key: str | None, marks: Marks | None) -> None:
        """Notes that the answer was written; without `marks`, that another's file of its name was kept."""
        facts = {"key": key, "written": marks.version, "sha256": marks.sha256} if marks else {}
        self._write({"answer": answer} | facts)

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def discard(self) -> None:
        """Notes that no answer of this process has a key, after `close`. What was written stays known."""
        file = LineFile(self._new_name())
        for line in read_lines(part_names(self._name)):
            file.append(json.dumps(json.loads(line) | {"key": None}))
        file.close()

    def _write(self, facts: dict[str, Any]) -> None:
        with self._lock:
            self._file.append(json.dumps(facts))

    def _new_name(self) -> str:
        shard = f"{self._shard.index:05}-of-{self._shard.count:05}"
        return join(self._folder, f"{self._ending}-{self._digest}/{time.time_ns():020}-{shard}-{PROCESS}.jsonl")


def done_key(notes: Notes, digest: str, answers: Answers, image: Input) -> str | None:
    """The key of the image's answer, if the answer is there and has the key that it would have now; else None.

    An image without a version is never done: stdin, and a web address whose server says none. Raises `OSError`.
    """
    answer, target, image_version = answers.relative(image), answers.target(image), image.current_version()
    if not image_version or (now := _version(target)) is None:
        return None
    key = answer_key(digest, image.full_name, image_version, answer)
    if notes.has(answer, now, key):
        return key
    # a copy has another time
    return key if not is_url(target) and notes.knows(answer) and notes.has(answer, _sha256(target), key) else None


def _version(target: str) -> str | None:
    """The version of a file or an object; None if it is not there, and for what is no regular file."""
    if not is_url(target) and not os.path.isfile(target):
        return None
    try:
        return version(target)
    except FileNotFoundError:
        return None


def _sha256(target: str) -> str:
    return sha256(read_whole(target)[0]).hexdigest()
