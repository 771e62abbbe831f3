"""CamVid as published: 960x720 frames and masks in 32 colours, with the usual 11 classes and three splits."""

from __future__ import annotations

from pathlib import Path

from imaging.palette import Color
from model.labels import LabelError, camvid_labels
from training.data.files import read_text

FRAMES, MASKS, COLORS = "701_StillsRaw_full", "LabeledApproved_full", "label_colors.txt"
# the eleven classes of SegNet (Badrinarayanan, Kendall & Cipolla 2017), grouped as MathWorks' `camvidPixelLabelIDs` does
GROUPS = {
    "Sky": "Sky",
    "Building": "Archway Bridge Building Tunnel Wall",
    "Pole": "Column_Pole TrafficCone",
    "Road": "LaneMkgsDriv LaneMkgsNonDriv Road",
    "Pavement": "ParkingBlock RoadShoulder Sidewalk",
    "Tree": "Tree VegetationMisc",
    "SignSymbol": "Misc_Text SignSymbol TrafficLight",
    "Fence": "Fence",
    "Car": "Car OtherMoving SUVPickupTruck Train Truck_Bus",
    "Pedestrian": "Animal CartLuggagePram Child Pedestrian",
    "Bicyclist": "Bicyclist MotorcycleScooter",
}


def split_of(name: str) -> str:
    """The usual split of a frame with this name, such as `0016E5_07959`: train, val or test.

    val is the part of 0016E5 that was labelled at 15 Hz. test is Seq05VD and the second half of 0001TP. train is the rest.
    """
    sequence, _, number = name.partition("_")
    frame = int(number) if number.isdecimal() else 0
    if sequence == "Seq05VD" or (sequence == "0001TP" and frame > 8520):
        return "test"
    if sequence == "0016E5" and 7959 <= frame <= 8159:
        return "val"
    return "train"


def published_colors(root: Path) -> dict[Color, int]:
    """Maps each of the 32 colours in the data's `label_colors.txt` to one of the 11 class ids, or to `ignore_index` for void.

    Raises `LabelError` naming the file for a line of another form, and for an unknown class.
    """
    labels = camvid_labels()
    class_ids = {name: labels.names.index(group) for group, names in GROUPS.items() for name in names.split()}
    colors: dict[Color, int] = {}
    for line in read_text(root / COLORS).splitlines():
        if words := line.split():
            if len(words) < 4 or not all(word.isdecimal() and int(word) < 256 for word in words[:3]):
                raise LabelError(f"{root / COLORS}: a line must be written red green blue name, got {line!r}")
            red, green, blue, name = *map(int, words[:3]), words[-1]
            if name != "Void" and name not in class_ids:
                raise LabelError(f"{root / COLORS}: {name!r} is none of CamVid's 32 classes")
            colors[red, green, blue] = class_ids.get(name, labels.ignore_index)
    return colors
