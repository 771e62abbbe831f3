"""Classes that a mirror or a turn makes of each other, such as left and right, whose labels training does not exchange."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

WORD = re.compile(r"[^\W\d_a-z]+(?![a-z])|[^\W\d_a-z]?[^\W\d_A-Z]+")  # also of CamelCase
INSIDE = re.compile("(?i)(left|right|[左右上下])")  # also of `lefteye`: other parts of words have no counterpart
SIDES = {
    "left": "left l 左 links linke linker linkes gauche izquierda izquierdo sinistra sinistro esquerda esquerdo",
    "right": "right r 右 rechts rechte rechter rechtes droite droit derecha derecho destra destro direita direito",
    "upper": "upper up top above 上 oben obere oberer oberes haut superior superiore arriba",
    "lower": "lower down bottom below 下 unten untere unterer unteres bas inferior inferiore abajo",
}
SIDE_OF = {word: side for side, words in SIDES.items() for word in words.split()}
ACROSS, ALONG = {"left": "right", "right": "left"}, {"upper": "lower", "lower": "upper"}
CHANGES = {"flip": ACROSS, "vertical_flip": ALONG, "quarter_turns": ACROSS | ALONG}
"""The sides that each change of crops exchanges, by the value of the recipe that has its share."""


def side_notes(names: Sequence[str], shares: Mapping[str, float]) -> list[str]:
    """A remark on the classes that the crops' changes make of each other, with the options against it; none without any.

    shares: of the crops that are changed, by name as in `CHANGES`.
    """
    words = dict[str, list[str]]()
    for name in names:
        own = [word.casefold() for part in INSIDE.split(name) for word in WORD.findall(part)]
        words[name] = sorted(SIDE_OF.get(word, word) for word in own)
    pairs, options = dict[tuple[str, str], None](), list[str]()
    for change, swap in CHANGES.items():
        mirrors = {name: sorted(swap.get(word, word) for word in own) for name, own in words.items()}
        of_change = [
            (name, other) for name in names for other in names if words[name] < words[other] and mirrors[name] == words[other]
        ]
        if shares[change] and of_change:
            pairs |= dict.fromkeys(of_change)
            options.append(f"--set {change}=0.0")
    if not pairs:
        return []
    text = ", ".join(f"{one!r} and {other!r}" for one, other in pairs)
    return [
        f"the classes {text} become each other when a crop is mirrored or turned, and their labels do not: give fcn-train "
        f"{' '.join(options)}, and do not serve them with quality=high, which mirrors too"
    ]
