"""How clients share the room for jobs: places in the table, bytes on the disk, and files."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Literal, NamedTuple

Resource = Literal["jobs", "bytes", "files"]


class Use(NamedTuple):
    """What somebody has, or may have: places in the table of jobs, bytes on the disk, and files."""

    jobs: int = 0
    bytes: int = 0
    files: int = 0


def minus(use: Use, other: Use) -> Use:
    """How much more the first is than the other."""
    return Use(*(a - b for a, b in zip(use, other, strict=True)))


class Lack(NamedTuple):
    """A resource of which there is not enough. giver: the client that has to give some back; None if the limit is a share."""

    resource: Resource
    limit: int
    giver: str | None


class Ranking:
    """How much of something each of many has, and who has most. Takes steps for the logarithm of their number (`bisect`).

    total: what all have.
    """

    def __init__(self, amounts: Mapping[str, int] = {}) -> None:
        self.total = 0
        self._amounts, self._order = dict[str, int](), list[tuple[int, str]]()
        for name, amount in amounts.items():
            self.add(name, amount)

    def __getitem__(self, name: str) -> int:
        return self._amounts.get(name, 0)

    def add(self, name: str, count: int) -> None:
        """It has so much more, or less."""
        self.total += count
        if before := self._amounts.pop(name, 0):
            del self._order[bisect_left(self._order, (before, name))]
        if amount := before + count:
            self._amounts[name] = amount
            insort(self._order, (amount, name))

    def most(self) -> Iterator[tuple[int, str]]:
        """What each has, and who it is; who has most is first."""
        return reversed(self._order)


def share(limit: int, client: str, uses: Ranking) -> int:
    """The most that a client may have of a limit: half of what the others leave, and all if they have nothing.

    uses: what each client has. One that was alone may have more than half of the limit. What is beyond it does not count here,
    because others may have it back (`Lack`).
    """
    half, others = limit // 2, uses.total - uses[client]
    # three with more than half leave nothing, so that more need not be looked at
    others -= sum(max(0, amount - half) for amount, name in islice(uses.most(), 4) if name != client)
    return (limit - others) // 2 if others else limit


class Shares:
    """What each client has (`uses`), and all together (`total`, which any thread may read). Only for the event loop.

    parts: what of it each job and upload has.
    """

    def __init__(self) -> None:
        self.total = Use()
        self.uses: dict[Resource, Ranking] = {"jobs": Ranking(), "bytes": Ranking(), "files": Ranking()}
        self.parts: dict[tuple[str, Resource], Ranking] = {}

    def change(self, client: str, id: str, more: Use) -> None:
        """A client's job or upload has so much more, or less."""
        self.total = Use(*map(sum, zip(self.total, more, strict=True)))
        for (resource, uses), count in zip(self.uses.items(), more, strict=True):
            uses.add(client, count)
            parts = self.parts.setdefault((client, resource), Ranking())
            parts.add(id, count)
            if not parts.total:
                del self.parts[client, resource]

    def lack(self, limits: Use, client: str, more: Use, *, has_share: bool) -> Lack | None:
        """What would be lacking if the client had so much more. None if nothing would.

        has_share: whether it may not have more than its share. If all together have more than a limit, the client with most
        gives back.
        """
        for (resource, uses), limit, count, total in zip(self.uses.items(), limits, more, self.total, strict=True):
            own, after = uses[client] + count, total + count
            if has_share and count > 0 and own < after and own > share(limit, client, uses):
                return Lack(resource, limit, None)
            if after > limit:
                others = (pair for pair in islice(uses.most(), 2) if pair[1] != client)
                return Lack(resource, limit, max([(own, client), *others])[1])
        return None
