"""How clients share the room for jobs: places in the table, bytes on the disk, and files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
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


def share(limit: int, client: str, uses: Mapping[str, int]) -> int:
    """The most that a client may have of a limit: half of what the others leave, and all if they have nothing.

    uses: what each client has. One that was alone may have more than half of the limit. What is beyond it does not count here,
    because others may have it back (`Lack`).
    """
    half, own = limit // 2, uses.get(client, 0)
    # no loop of Python over clients, of which there may be thousands
    others = sum(uses.values()) - sum(filter(half.__lt__, uses.values())) + half * sum(map(half.__lt__, uses.values()))
    others -= min(own, half)
    return (limit - others) // 2 if others else limit


class Shares:
    """What each client has (`uses`), and all together (`total`, which any thread may read). Only for the event loop."""

    def __init__(self) -> None:
        self.total = Use()
        self.uses: dict[Resource, Counter[str]] = {"jobs": Counter(), "bytes": Counter(), "files": Counter()}

    def change(self, client: str, more: Use) -> None:
        """A client has so much more, or less."""
        self.total = Use(*map(sum, zip(self.total, more, strict=True)))
        for uses, count in zip(self.uses.values(), more, strict=True):
            uses[client] += count
            if not uses[client]:
                del uses[client]

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
                return Lack(resource, limit, max({**uses, client: own}.items(), key=lambda item: item[1])[0])
        return None
