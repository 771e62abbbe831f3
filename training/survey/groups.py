"""Groups of frames that belong together, such as the drives of CamVid, for cross-validation by group.

A pattern is a regular expression that matches the beginning of a frame's name. The group is the match, or its first capturing
group if the pattern has one.
"""

from __future__ import annotations

import re
from dataclasses import replace

from training.data.problems import DataError
from training.data.split import Split

GROUP = r"[^_]+"  # the default pattern: finds 0016E5 in 0016E5_07959
EACH = "each"
PATTERN_HELP = (
    "regular expression for the beginning of a frame's name; the group is what it matches, or what its first parentheses "
    f"match (default: {GROUP})"
)


def groups(split: Split, pattern: str = GROUP) -> list[str]:
    """The sorted groups of the split's frames; raises `DataError` if there is only one, or if a name has none."""
    result = sorted({group_name(frame.name, pattern) for frame in split.frames})
    if len(result) < 2:
        raise DataError(
            f"the frames of {split.name!r} are all of one group, {result[0]!r}; two are needed, to train and to score; "
            f"--group-pattern, now {pattern!r}, finds the group at the beginning of a frame's name"
        )
    return result


def only(split: Split, group: str, pattern: str = GROUP) -> Split:
    """The split with only the frames of this group."""
    return _pick(split, group, pattern, f"{split.name} {group}", inside=True)


def without(split: Split, group: str, pattern: str = GROUP) -> Split:
    """The split with only the frames of the other groups."""
    return _pick(split, group, pattern, f"{split.name} without {group}", inside=False)


def _pick(split: Split, group: str, pattern: str, name: str, *, inside: bool) -> Split:
    names = groups(split, pattern)
    if group not in names:
        raise DataError(f"the frames of {split.name!r} are of the groups {', '.join(names)}; got {group!r}")
    frames = tuple(frame for frame in split.frames if (group_name(frame.name, pattern) == group) == inside)
    return replace(split, name=name, frames=frames)


def group_name(name: str, pattern: str) -> str:
    """The group of a frame of this name; raises `DataError` if it has none, or for a pattern that is none."""
    try:
        match = re.match(pattern, name)
    except re.error as error:
        raise DataError(f"--group-pattern must be a regular expression, got {pattern!r}: {error}") from error
    group = (match[1] if match.re.groups else match[0]) if match else None
    if not group:
        raise DataError(f"{pattern!r} finds no group at the beginning of the frame's name {name!r}")
    return group
