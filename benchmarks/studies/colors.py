"""The least distance between the colours of two classes: the display colours beside those of the label sets.

    python -m benchmarks.studies.colors

Distances are in OKLab, in which black and white are 1 apart, for normal vision and for simulated red-green blindness. Of a
label set without colours of its own, `numbered_labels` gives those of the VOC palette.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

from imaging.palette import VISIONS, Color, Vision, display_palette, oklab
from model.labels import LabelSet, camvid_labels, numbered_labels, voc_labels

LABEL_SETS = {
    "VOC, 21 classes": voc_labels(),
    "CamVid, 11 classes": camvid_labels(),
    "150 numbered classes": numbered_labels([f"class {i}" for i in range(150)]),
    "255 numbered classes": numbered_labels([f"class {i}" for i in range(255)]),
}


def least_distance(colors: list[Color], vision: Vision) -> float:
    """The least distance between two of these colours in OKLab, as someone of this vision sees them."""
    points = oklab(colors, vision)
    nearest = [np.linalg.norm(points[:i] - point, axis=1).min() for i, point in enumerate(points) if i]
    return float(min(nearest))


def distances(labels: LabelSet) -> Iterator[tuple[Vision, float, float]]:
    """For each vision, the least distance of the display colours and of the label set's own."""
    palette = display_palette(labels.classes)
    for vision in VISIONS:
        display = least_distance([palette[label.id] for label in labels.classes], vision)
        yield vision, display, least_distance([label.color for label in labels.classes], vision)


def main() -> int:
    print("| label set | vision | display colours | label set's |\n|---|---|---|---|")
    for name, labels in LABEL_SETS.items():
        for vision, display, own in distances(labels):
            print(f"| {name} | {vision} | {display:.3f} | {own:.3f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
