"""Groups of frames that belong together, such as the drives of CamVid: each left out in turn is a fold.

A pattern is a regular expression for the beginning of a frame's name; the group is what it finds, or its first parentheses.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from training.data.datasets import Split
from training.data.problems import DataError

GROUP = r"[^_]+"  # of a frame's name, from its beginning: 0016E5 of 0016E5_07959
EACH = "each"
PATTERN_HELP = f"what of a frame's name, from its beginning, is its group; or its first parentheses (default: {GROUP})"


def groups(split: Split, pattern: str = GROUP) -> list[str]:
    """The groups of the split's frames, sorted. Raises `DataError` where there is only one, or a name has none."""
    found = sorted({_group(frame.name, pattern) for frame in split.frames})
    if len(found) < 2:
        raise DataError(
            f"the frames of {split.name!r} are one group, {found[0]!r}: nothing would be left to train on; "
            f"a group is what --group-pattern finds at the beginning of a frame's name, now {pattern!r}"
        )
    return found


def only(split: Split, group: str, pattern: str = GROUP) -> Split:
    """The frames of this group."""
    return _pick(split, group, pattern, f"{split.name} {group}", inside=True)


def without(split: Split, group: str, pattern: str = GROUP) -> Split:
    """The frames of the other groups."""
    return _pick(split, group, pattern, f"{split.name} without {group}", inside=False)


def _pick(split: Split, group: str, pattern: str, name: str, *, inside: bool) -> Split:
    known = groups(split, pattern)
    if group not in known:
        raise DataError(f"the frames of {split.name!r} are of the groups {', '.join(known)}; got {group!r}")
    frames = tuple(frame for frame in split.frames if (_group(frame.name, pattern) == group) == inside)
    return replace(split, name=name, frames=frames)


def _group(name: str, pattern: str) -> str:
    try:
        found = re.match(pattern, name)
    except re.error as error:
        raise DataError(f"--group-pattern must be a regular expression, got {pattern!r}: {error}") from error
    group = (found[1] if found.re.groups else found[0]) if found else None
    if not group:
        raise DataError(f"{pattern!r} finds no group at the beginning of the frame's name {name!r}")
    return group


def refuse_shared_frames(train: Split, validation: Split) -> None:
    """Raises `DataError` where an image file of one split is, byte for byte, in the other: its score would be of no worth."""
    seen = {_digest(train, index): frame for index, frame in enumerate(train.frames)}
    shared = [
        (seen[digest].image, frame.image)
        for index, frame in enumerate(validation.frames)
        if (digest := _digest(validation, index)) in seen
    ]
    if shared:
        mine, theirs = shared[0]
        named = str(mine) if mine == theirs else f"{mine}, the same as {theirs}"
        raise DataError(
            f"{len(shared)} of {len(validation.frames)} frames of {validation.name!r} stand in {train.name!r} as well, such as "
            f"{named}; a score on frames that were trained on tells nothing"
        )


def _digest(split: Split, index: int) -> bytes:
    return hashlib.sha256(split.file(index)).digest()
