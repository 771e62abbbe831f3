"""Label sets by name, or from a `classes.json` or `classes.yaml` beside the data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from model.labels import LabelError, LabelSet, camvid_labels, voc_color, voc_labels
from training.layouts import repeated

KNOWN = {"voc": voc_labels, "camvid": camvid_labels}
FILES = ("classes.json", "classes.yaml", "classes.yml")


def find_labels(name: str | None, root: Path) -> LabelSet:
    """The named label set; without a name the one in the data's folder, else CamVid's or VOC's by the folder's layout."""
    if name:
        return read_labels(name)
    own = next((root / file for file in FILES if (root / file).is_file()), None)
    if own:
        return read_labels(str(own))
    if (root / "images").is_dir():
        raise LabelError(f"{root} has images/ but none of {', '.join(FILES)}: write one, or give --labels")
    camvid = any((root / folder).is_dir() for folder in ("trainannot", "valannot", "LabeledApproved_full"))
    return camvid_labels() if camvid else voc_labels()


def read_labels(name: str) -> LabelSet:
    """The label set `voc`, `camvid`, or that of a JSON or YAML file `{"classes": [...], "ignore_index": 255}`.

    A class is `{"id", "name", "color": "#rrggbb"}`, or its name alone: ids then count from 0. Colours that are left
    out are VOC's. Raises `LabelError` naming the file.
    """
    if name in KNOWN:
        return KNOWN[name]()
    path = Path(name)
    try:
        document = _yaml(path) if path.suffix in (".yaml", ".yml") else json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LabelError(f"labels must be voc, camvid, or a JSON or YAML file, got {name!r}: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("classes"), list):
        raise LabelError(f'{name} needs a list of classes: {{"classes": ["background", "leaf"], "ignore_index": 255}}')
    try:
        labels = LabelSet.from_list(_entries(document["classes"]), _ignore_index(document))
    except LabelError as error:
        raise LabelError(f"{name}: {error}") from error
    if twice := repeated(labels.names):
        raise LabelError(f"{name}: each class needs a name of its own, got {', '.join(twice)} twice")
    return labels


def _yaml(path: Path) -> object:
    if find_spec("yaml") is None:
        raise ValueError("YAML needs the extra: pip install 'fcn-segment[train]'; or write JSON")
    import yaml

    try:
        document: object = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    return document


def _entries(classes: Sequence[Any]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for index, entry in enumerate(classes):
        given: Mapping[str, Any] = {"id": index, "name": entry} if isinstance(entry, str) else entry
        if not isinstance(given, Mapping) or not isinstance(given.get("id"), int):
            raise LabelError(f"class {index} must be a name or have id, name and color, got {entry!r}")
        if "color" in given and not isinstance(given["color"], str):
            raise LabelError(f"class {index}: color must be a text like '#3ca951' (in YAML, in quotes), got {given['color']!r}")
        red, green, blue = voc_color(given["id"])
        entries.append({"color": f"#{red:02x}{green:02x}{blue:02x}", **given})
    return entries


def _ignore_index(document: Mapping[str, Any]) -> int:
    value = document.get("ignore_index", 255)
    if not isinstance(value, int):
        raise LabelError(f"ignore_index must be a whole number, got {value!r}")
    return value
