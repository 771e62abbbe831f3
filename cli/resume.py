"""Which answers are done: a journal below the output folder, with a key of each.

A key is a hash of all that an answer's bytes depend on: the image's name and version, the answer's name, the options, the
loaded file, runtime and precision, and the version of this package. What is there with another key is done again.

Each process appends to a file of its own, `.fcn-segment/ENDING-SETTINGS/START-SHARD-PROCESS.jsonl`, after it has written an
answer. So shards need no lock, and a killed process loses a line at most, or on an object store a part; then it writes the
same bytes again.
"""

from __future__ import annotations

import json
import os
import time
from array import array
from contextlib import suppress
from hashlib import sha256

import numpy as np

from cli.answers import STATE, Answers
from cli.input import Input, Shard
from cli.lines import LineFile, read_lines
from cli.places import TOKEN, join, names_below, remove
from model.command_line import package_version

KEY_LENGTH = 32  # hexadecimal digits


def settings_digest(*facts: object) -> str:
    """A digest of options and model, for `Journal`. The facts are compared by `repr`."""
    return sha256(repr((facts, package_version())).encode()).hexdigest()[:16]


def answer_key(settings: str, image: str, version: str, answer: str) -> str:
    """The key of an answer. settings: of `settings_digest`. image, answer: their relative names. version: of the image."""
    return sha256(json.dumps([image, version, answer, settings]).encode()).hexdigest()[:KEY_LENGTH]


class Journal:
    """The journal of a run's answers. For one thread, except `done`, which any may call.

    Of each answer it keeps 16 bytes in memory. Opening it removes journals of other settings for answers with this ending,
    which this run is going to overwrite. Raises `OSError`.
    """

    def __init__(self, answers: Answers, settings: str, shard: Shard | None = None, *, resume: bool = True) -> None:
        self._settings = settings
        part = shard or Shard()
        folder = join(answers.out, STATE)
        mine = f"{answers.suffix.removeprefix('.')}-{settings}"
        for name in names_below(folder):
            kind = name.partition("/")[0]
            if kind.startswith(f"{answers.suffix.removeprefix('.')}-") and kind != mine:
                with suppress(FileNotFoundError):
                    remove(join(folder, name))
        self._answers, self._keys = _latest(join(folder, mine)) if resume else _latest(None)
        started = f"{time.time_ns():020}"
        self._file = LineFile(join(folder, f"{mine}/{started}-{part.index:05}-of-{part.count:05}-{TOKEN}.jsonl"))

    def done(self, answer: str, key: str) -> bool:
        """Whether the answer was written with this key, and with no other after it."""
        index = int(np.searchsorted(self._answers, wanted := np.uint64(_number(answer))))
        return index < len(self._answers) and self._answers[index] == wanted and self._keys[index] == int(key[:16], 16)

    def append(self, answer: str, key: str) -> None:
        """Notes that the answer was written."""
        self._file.append(json.dumps({"answer": answer, "key": key}))

    def close(self) -> None:
        self._file.close()


def is_done(journal: Journal, settings: str, answers: Answers, image: Input) -> bool:
    """Whether the answer of this image is there, with the key that it would have now. Raises `OSError`."""
    answer = answers.relative(image)
    key = answer_key(settings, image.relative, image.current_version(), answer)
    return journal.done(answer, key) and answers.exists(answers.target(image))


def _latest(folder: str | None) -> tuple[np.ndarray[tuple[int], np.dtype[np.uint64]], ...]:
    """Hashes of all answers in the journal, in order, and the latest key of each. Ignores lines that are torn."""
    answers, keys = array("Q"), array("Q")
    for line in read_lines(folder) if folder else ():
        with suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            answer, key = _number(entry["answer"]), int(entry["key"][:16], 16)
            answers.append(answer)
            keys.append(key)
    names, latest = np.unique(np.array(answers, np.uint64)[::-1], return_index=True)
    return names, np.array(keys, np.uint64)[::-1][latest]


def _number(answer: str) -> int:
    return int.from_bytes(sha256(os.fsencode(answer)).digest()[:8], "big")
