"""What two commits answered differently: rules for what differs by nature, the table of what shall differ, and the report."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.api.errors import TYPE_PREFIX, Problem

Parts = Mapping[str, bytes]
"""What a user sees of one answer: `status`, `header etag`, `body`; of a command `exit status`, `stderr`, `file out/a.png`."""
LENGTH = "header content-length"
SHOWN = 5  # differences of one kind and part that are shown whole
AROUND = 30  # bytes before and behind the first one that differs
MISSING = object()


class Rule(NamedTuple):
    """What differs by nature, with the reason: what `pattern` finds in parts `KIND, REQUEST: PART` that `where` finds."""

    name: str
    reason: str
    where: str
    pattern: bytes


RULES = (
    Rule("date", "the time of the answer", r": (\d+ )?header date$", rb".+"),
    Rule("request id", "drawn at random unless the client names one", r"header x-request-id$", rb"^[0-9a-f]{32}$"),
    Rule("id in a problem", "the same id", r": ", rb'(?<="request_id":")[0-9a-f]{32}|(?<="request_id": ")[0-9a-f]{32}'),
    Rule("stages", "measured times", r"header server-timing$", rb"(?<=dur=)[0-9.]+"),
    Rule("uptime", "a measured time", r": (\d+ )?body$", rb'(?<="uptime_s":)[0-9.]+'),
    Rule("metrics", "counts of bytes and times; names and labels count", r"/metrics.*: body", rb"(?m)(?<= )[-+0-9.e]+$"),
    Rule("length", "that of measured values", r"(/health|/metrics|garbage).*header content-length$", rb".+"),
    Rule("seconds", "a measured time", r"^commands", rb'(?<=seconds": )[0-9.]+'),
    Rule("journal", "named by time and at random", r"/\.fcn-segment/", rb"\b\d{20}(?=-)|(?<=-)[0-9a-f]{8}(?=\.jsonl)"),
    Rule("key", "of an input's folder and time", r"^commands", rb'(?i)(?<=key">)[0-9a-f]{16}|(?<=key": ")[0-9a-f]{16,}'),
    Rule("written", "an answer's time", r"/\.fcn-segment/", rb'(?<="written": ")[^"]+'),
    Rule("port", "a free one", r": ", rb"(?<=127\.0\.0\.1:)\d+"),
    Rule("tag", "has the instructions of the processor in it", r": ", rb'(?<=")[0-9a-f]{32}(?=\\?")'),
    Rule("settings", "have the instructions of the processor in them", r"/\.fcn-segment/", rb"(?<=-)[0-9a-f]{16}(?=/)"),
)


class Expected(NamedTuple):
    """A difference on purpose: `where` finds its `KIND, REQUEST: PART`; the line of the changelog says why."""

    where: str
    reason: str


EXPECTED: tuple[Expected, ...] = ()  # emptied when a comparison is done: the next one is with another commit


class Difference(NamedTuple):
    """A part that differs, as the rules leave it; None where a side lacks it."""

    kind: str
    request: str
    part: str
    former: bytes | None
    this: bytes | None

    @property
    def place(self) -> str:
        return f"{self.kind}, {self.request}: {self.part}"

    def __str__(self) -> str:
        return f"{self.place}: {excerpt(self.former, self.this)}"


@dataclass
class Report:
    """Counts comparisons and keeps differences. rules: for what differs by nature. changes: what differs on purpose."""

    rules: Sequence[Rule] = RULES
    changes: Sequence[Expected] = EXPECTED
    counts: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    problems: set[str] = field(default_factory=set)

    def add(self, kind: str, request: str, former: Parts, this: Parts) -> None:
        """Compares the answers of both sides to one request."""
        self.counts[kind] += 1
        sides = [dict(self._normal(f"{kind}, {request}: ", *pair) for pair in parts.items()) for parts in (former, this)]
        for part in sorted({*sides[0], *sides[1]}):
            before, now = (side.get(part) for side in sides)
            self.problems.update(re.findall(f"{TYPE_PREFIX}([a-z-]+)", (now or b"").decode("latin-1")))
            if before != now:
                self.differences.append(Difference(kind, request, part, before, now))

    def _normal(self, place: str, part: str, value: bytes) -> tuple[str, bytes]:
        """The part's name, if it is a file's, and its value, as the rules leave them."""
        name, is_file = part.encode(), part.startswith("file ")
        for rule in self.rules:
            if re.search(rule.where, place + part):
                sign = b"<%b>" % rule.name.encode()
                name, value = re.sub(rule.pattern, sign, name) if is_file else name, re.sub(rule.pattern, sign, value)
        return name.decode(), value

    def unexpected(self) -> list[Difference]:
        """The differences that no expected one covers. A length is judged as the body that it is of."""
        places = [(each, each.place.replace(LENGTH, "body")) for each in self.differences]
        return [each for each, place in places if not any(re.search(rule.where, place) for rule in self.changes)]

    def lines(self) -> Iterator[str]:
        """What was compared, what differs, which expected difference did not occur, and which problem types nothing reached."""
        yield "compared: " + ", ".join(f"{kind} {count}" for kind, count in self.counts.items())
        counts: Counter[tuple[str, str]] = Counter()
        for each in self.unexpected():
            counts[each.kind, each.part] += 1
            if counts[each.kind, each.part] <= SHOWN:
                yield f"differs: {each}"
        yield from (f"differs as well: {kind}, {part}, {n - SHOWN} times" for (kind, part), n in counts.items() if n > SHOWN)
        for rule in self.changes:
            count = sum(bool(re.search(rule.where, each.place)) for each in self.differences)
            yield f"expected, {count} times: {rule.where}: {rule.reason}" if count else f"expected, did not occur: {rule.where}"
        kinds: list[type[Problem]] = [Problem, *Problem.__subclasses__()]
        names = sorted({kind.name for kind in kinds} - self.problems)
        yield f"problem types that nothing reached: {', '.join(names) or 'none'}"
        yield f"{len(self.unexpected())} unexpected differences in {self.counts.total()} comparisons"


def excerpt(former: bytes | None, this: bytes | None) -> str:
    """The first JSON path that differs, or the bytes around the first one that does: of the former, then of this commit."""
    if former is None or this is None:
        return f"only this commit has it: {this!r:.80}" if former is None else f"only the former has it: {former!r:.80}"
    try:
        documents = json.loads(former), json.loads(this)
    except ValueError:
        documents = (None, None)
    if documents[0] != documents[1]:
        return json_path(*documents)
    start = next((i for i, (a, b) in enumerate(zip(former, this, strict=False)) if a != b), min(len(former), len(this)))
    part = slice(max(0, start - AROUND), start + AROUND)
    return f"byte {start} of {len(former)} and {len(this)}: {former[part]!r} / {this[part]!r}"


def json_path(former: Any, this: Any, path: str = "$") -> str:
    """The path of the first value that differs, and both values."""
    if type(former) is type(this) and isinstance(former, dict | list):
        pairs = [dict(enumerate(each)) if isinstance(each, list) else each for each in (former, this)]
        for key in pairs[0] | pairs[1]:
            before, now = (each.get(key, MISSING) for each in pairs)
            if before is MISSING or now is MISSING:
                return f"{path}: {key!r} is there on one side alone"
            if before != now:
                return json_path(before, now, f"{path}[{key!r}]")
    return f"{path}: {former!r:.80} / {this!r:.80}"
