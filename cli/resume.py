"""Which answers are done: a journal below the output folder, with a key for each answer.

A key is a hash of all that an answer's bytes depend on: the image's name and version, the answer's name, the options, the
loaded file, runtime and precision, and the version of this package. `--resume` skips an answer whose latest key is the one that
it would have now, and whose file has the size and time that it was written with.

Each process appends to a file of its own, `.fcn-segment/ENDING-DIGEST/START-SHARD-PROCESS.jsonl`, after it has written an
answer. So shards need no lock. A killed process loses the notes of the last answers, and the next run writes them again. No
process removes a journal, since another one may still write it.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from hashlib import sha256

from cli.answers import STATE, Answers
from cli.hashes import HashMap, hash_of
from cli.input import Input, Shard
from cli.lines import LineFile, read_lines, remove_lines
from cli.places import TOKEN, join, names_below
from model.command_line import package_version

KEY_LENGTH = 32  # hexadecimal digits
OTHER_SETTINGS = "the last run there had other options, weights, runtime, precision or version; its answers may differ"


def settings_digest(*facts: object) -> str:
    """A digest of options and model, for `Journal`. The facts are compared by `repr`."""
    return sha256(repr((facts, package_version())).encode()).hexdigest()[:16]


def answer_key(digest: str, image: str, version: str, answer: str) -> str:
    """The key of an answer. digest: of `settings_digest`. image, version: `Input.full_name` and version. answer: its name."""
    return sha256(json.dumps([image, version, answer, digest]).encode()).hexdigest()[:KEY_LENGTH]


class Journal:
    """The journal of a run's answers. For one thread, except `has`, which any may call.

    digest: of `settings_digest`. With `resume` it reads the journals of all earlier runs whose answers have this ending, in the
    order of their starts, and keeps 16 bytes for each answer. Raises `OSError`.
    """

    def __init__(self, answers: Answers, digest: str, shard: Shard | None = None, *, resume: bool = True) -> None:
        shard = shard or Shard()
        folder = join(answers.out, STATE)
        ending = answers.suffix.removeprefix(".")
        names = [name for name in names_below(folder) if name.startswith(f"{ending}-") and name.endswith(".jsonl")]
        names.sort(key=lambda name: name.partition("/")[2])
        self.other_settings = bool(names) and not names[-1].startswith(f"{ending}-{digest}/")
        """Whether the last run that wrote such answers had another digest."""
        self._keys = HashMap()
        for line in read_lines(join(folder, name) for name in names) if resume else ():
            with suppress(ValueError, KeyError, TypeError):  # a torn line
                note = json.loads(line)
                self._keys.set(note["answer"], _number(note["key"], note["written"]))
        start = f"{time.time_ns():020}"
        self._name = join(folder, f"{ending}-{digest}/{start}-{shard.index:05}-of-{shard.count:05}-{TOKEN}.jsonl")
        self._file = LineFile(self._name)

    def has(self, answer: str, key: str, file_version: str) -> bool:
        """Whether the answer was written with this key, and with no other after it. file_version: its file's version now."""
        return self._keys.get(answer) == _number(key, file_version)

    def append(self, answer: str, key: str, file_version: str) -> None:
        """Notes that the answer was written. file_version: its file's version then."""
        self._file.append(json.dumps({"answer": answer, "key": key, "written": file_version}))

    def close(self) -> None:
        self._file.close()

    def discard(self) -> None:
        """Removes what this process has noted, after `close`."""
        remove_lines(self._name)


def done_key(journal: Journal, digest: str, answers: Answers, image: Input) -> str | None:
    """The key of the image's answer, if the answer is there and has the key that it would have now; else None.

    An image without a version is never done: stdin, and a web address whose server says none. Raises `OSError`.
    """
    answer, image_version = answers.relative(image), image.current_version()
    if not image_version:
        return None
    key = answer_key(digest, image.full_name, image_version, answer)
    try:
        file_version = answers.file_version(answers.target(image))
    except FileNotFoundError:
        return None
    return key if journal.has(answer, key, file_version) else None


def _number(key: str, file_version: str) -> int:
    return hash_of(f"{key} {file_version}")
