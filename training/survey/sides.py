"""Classes that a mirror or a turn makes of each other, such as left and right, whose labels training does not exchange."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

WORD = re.compile(r"[^\W\d_a-z]+(?![a-z])|[^\W\d_a-z]?[^\W\d_A-Z]+")  # also of CamelCase
ACROSS = (("left", "right"), ("l", "r"), ("links", "rechts"), ("gauche", "droite"), ("izquierda", "derecha"))
ALONG = (("up", "down"), ("upper", "lower"), ("top", "bottom"), ("above", "below"), ("oben", "unten"), ("haut", "bas"))
CHANGES = {"flip": ACROSS, "vertical_flip": ALONG, "quarter_turns": (*ACROSS, *ALONG)}
"""The words that each change of crops exchanges, by the value of the recipe that has its share."""


def side_notes(names: Sequence[str], shares: Mapping[str, float]) -> list[str]:
    """A remark on the classes that the crops' changes make of each other, with the options against it; none without any.

    shares: of the crops that are changed, by name as in `CHANGES`.
    """
    words = {name: sorted(word.casefold() for word in WORD.findall(name)) for name in names}
    pairs, options = dict[tuple[str, str], None](), list[str]()
    for change, opposites in CHANGES.items():
        swap = {one: other for pair in opposites for one, other in (pair, pair[::-1])}
        swapped = {name: sorted(swap.get(word, word) for word in own) for name, own in words.items()}
        of_change = [
            (name, other) for name in names for other in names if words[name] < words[other] and swapped[name] == words[other]
        ]
        if shares[change] and of_change:
            pairs |= dict.fromkeys(of_change)
            options.append(f"--set {change}=0.0")
    if not pairs:
        return []
    shown = ", ".join(f"{one!r} and {other!r}" for one, other in pairs)
    return [
        f"the classes {shown} become each other when a crop is mirrored or turned, and their labels do not: give fcn-train "
        f"{' '.join(options)}, and do not serve them with quality=high, which mirrors too"
    ]
