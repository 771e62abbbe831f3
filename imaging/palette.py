"""Display colours: easy to tell apart over photographs, for any label set, by colour-blind people too.

The rule by which they were chosen: of all sRGB colours whose channels are multiples of 17, those of medium lightness (0.48 to
0.93) and clear chroma (from 0.13) in OKLCH are candidates. Each colour is the candidate that is farthest from those before it,
and from the background's. The distance of two colours is the least of their distance in OKLab and, twice as heavy, those that
remain with protanopia and deuteranopia. The background and void are grey.

Sources: OKLab by Björn Ottosson (2020), https://bottosson.github.io/posts/oklab/; the simulation of missing cones by Machado,
Oliveira and Fernandes (2009), "A Physiologically-based Model for Simulation of Color Vision Deficiency", severity 1.0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imaging.classes import VOID, Label, is_background

Color = tuple[int, int, int]
BACKGROUND_COLOR: Color = (72, 72, 72)
VOID_COLOR: Color = (232, 232, 232)
COLORS = """
bf0 f8f 70f c80 c09 1ff 0b8 37c 070 d00 0d0 b5f 9d8 f89 c69 3be 90b 98e a46 f36 85a 095 2f7 0dc f5b 8b4 05d 9fb 928 3a0
fb5 ed5 e2c f96 e8c 0ea 75e b43 d6d c65 c47 f67 29d b5b a16 08f 4c7 c15 ba0 96d b2b 4df 77e 59f db0 948 0cd 0ca 45a 9e2
d39 880 f39 e64 ce8 63c b10 2fc d67 84c faf 91d c7b 4ed c07 6da e7a 8d5 83a 6f9 e04 83f e9e e07 66d 1b5 a34 a50 0d7 6e7
38c d5b 2cf e86 e94 a09 44e f4f 7eb ad0 f6f d84 f6d 0a7 b48 46b 7e9 2d9 ee5 bf8 b28 f69 e58 a49 c4a cd6 e78 b03 f4d af6
e50 d54 d48 e4a 083 c3c b05 f1e ab0 0ad e5c c44 f8b 6fd b6a d7c 4ef 52e d8e 85f ac3 6b0 c5e 68e 4a4 e76 d35 86c ae5 7c6
e6a f34 a4d d56 f79 a8f 581 f9d b46 ed0 c35 073 0fa a3e 35f a36 a1b eb4 0de f7b a07 b56 94b ce6 a42 e67 393 0ec b07 b8e
b59 96b f43 de3 e33 d58 f06 b09 7b6 6d6 d13 9b5 4e6 9e8 8d7 c6f 4bf a32 4b7 b35 99f a15 949 d2b 8a2 87d 5c9 5f3 83c c0a
f85 4db f55 1ae 2b9 d93 f58 c48 b0d c6a 0ee e7c 1ce 938 f77 62d e48 5d8 d4a 4a6 e7b 594 0c8 b36 cd4 b32 4fe 6d4 c24 f8c
a4a cc2 90e 08e bc4 de7 afa 8ea f19 f8a 9f5 992 5f8 e2d f88
"""
"""Of the classes, in the order of their ids without the background: red, green and blue, a hexadecimal digit each."""


def display_palette(labels: Sequence[Label]) -> list[Color]:
    """256 RGB colours: a distinct one for each class, grey for the background and void (255), and black for all other ids.

    The colour of a class depends on its place among the classes alone, so it stays when classes are added after it.
    """
    colors: list[Color] = [(0, 0, 0)] * 256
    colors[VOID] = VOID_COLOR
    distinct = iter(COLORS.split())
    for label in labels:
        colors[label.id] = BACKGROUND_COLOR if is_background(label.name) else _color(next(distinct))
    return colors


def _color(digits: str) -> Color:
    red, green, blue = (17 * int(digit, 16) for digit in digits)
    return red, green, blue


def hex_color(color: Color) -> str:
    """An RGB colour as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def is_light(color: Color) -> bool:
    """Whether black text is easier to read on this colour than white text: by the contrast ratio of WCAG 2."""
    values = np.asarray(color) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    # equal contrast to black and to white: (L + 0.05) / 0.05 = 1.05 / (L + 0.05)
    return bool((luminance + 0.05) ** 2 > 0.05 * 1.05)
