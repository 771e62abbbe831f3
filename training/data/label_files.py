"""Label sets by name, or from a file: our `classes.json` or `classes.yaml`, or text files of CVAT, labelme and Roboflow.

Names of classes that may mean one class are found here, too.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from common.printable import printable
from imaging.classes import VOID, is_background
from imaging.palette import hex_color
from model.labels import LabelClass, LabelError, LabelSet, camvid_labels, parse_color, voc_color, voc_labels
from training.data.files import read_text
from training.data.layouts import PIXEL_CLASSES, repeated
from training.data.strict_text import parse_yaml, read_json

LONGEST_NAME = 200  # letters of a class's name
LONGEST_KEY = 40  # letters of a key or value that a message shows
MOST_PROBLEMS = 3  # that a message shows
RULES = {
    "model_type": "a class must be a name, in quotes where it could be something else, or have id, name and color",
    "string_type": "this must be a text, in YAML in quotes",
}
KNOWN = {"voc": voc_labels, "camvid": camvid_labels}
FILES = ("classes.json", "classes.yaml", "classes.yml")
LABEL_MAP, CLASS_NAMES = "labelmap.txt", "class_names.txt"  # CVAT's "Segmentation mask", and labelme2voc's
IGNORED = "__ignore__"  # labelme's void
MAP_LINE = re.compile(r"(?P<name>.*):(?P<color>[^:]*):[^:]*:[^:]*")  # a line of labelmap.txt: name, colour, parts, actions
MAP_COLOR = re.compile(r"\s*\d+\s*,\s*\d+\s*,\s*\d+\s*")
MARKS = " _-"  # letters that do not tell names apart
UNWRITABLE = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories: control characters, lone surrogates, line and paragraph separators


def find_labels(name: str | None, root: Path) -> LabelSet:
    """The label set of a name or file, as `read_labels` gives it. Without a name, the data's folder decides.

    The folder's file of classes comes first. In a folder without one, CamVid's layouts have CamVid's classes, and other
    layouts have VOC's. Raises `LabelError` if the folder's files differ, and if a folder with `images/` has no file.
    """
    if name:
        return read_labels(name)
    paths = [root / file for file in (*FILES, LABEL_MAP, CLASS_NAMES) if (root / file).is_file()]
    paths += sorted(root.glob(f"*/{PIXEL_CLASSES}"))
    if paths:
        labels = read_labels(str(paths[0]))
        for other in paths[1:]:
            if other.name in (*FILES, PIXEL_CLASSES) and read_labels(str(other)) != labels:
                raise LabelError(f"{paths[0]} and {other.relative_to(root)} say other classes: remove one, or give --labels")
        return labels
    if (root / "images").is_dir():
        raise LabelError(f"{root} has images/ but none of {', '.join(FILES)}: write one, or give --labels")
    is_camvid = any((root / folder).is_dir() for folder in ("trainannot", "valannot", "LabeledApproved_full"))
    return camvid_labels() if is_camvid else voc_labels()


def read_labels(name: str) -> LabelSet:
    """The label set `voc` or `camvid`, or that of a JSON, YAML or text file.

    JSON and YAML hold `{"classes": [...], "ignore_index": 255}`. A class is `{"id", "name", "color": "#rrggbb"}`, or only
    its name: its id is then its position, from 0. The list alone will do. A class without a colour gets VOC's. A text file
    is CVAT's `labelmap.txt`, whose background becomes class 0, or has one name on each line, as labelme's
    `class_names.txt`. Roboflow's `_classes.csv` has an id and a name on each line. Raises `LabelError` naming the file,
    also for a key that is none of these.
    """
    if name in KNOWN:
        return KNOWN[name]()
    path = Path(name)
    try:
        document = _read(path)
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise LabelError(f"labels must be voc, camvid, or a JSON or YAML file, got {name!r}: {reason}") from error
    document = {"classes": document} if isinstance(document, list) else document
    try:
        if not isinstance(document, dict) or not isinstance(document.get("classes"), list):
            raise LabelError('a list of classes is needed: {"classes": ["background", "leaf"], "ignore_index": 255}')
        entries = [{"id": at, "name": each} if isinstance(each, str) else each for at, each in enumerate(document["classes"])]
        content = _ClassFile.model_validate(document | {"classes": entries})
        ids = [entry.id for entry in content.classes]
        if content.ignore_index != VOID and content.ignore_index in ids:
            others = ",".join(f"{id}={at}" for at, id in enumerate(id for id in ids if id != content.ignore_index))
            raise LabelError(
                f"ignore_index {content.ignore_index} is a class's id: leave it out, and make that class void by "
                f"--class-map {others}, which names all others"
            )
        labels = LabelSet(tuple(entry.label() for entry in content.classes), content.ignore_index)
    except ValidationError as error:
        raise LabelError(f"{name}: {'; '.join(map(_problem, error.errors()[:MOST_PROBLEMS]))}") from error
    except LabelError as error:
        raise LabelError(f"{name}: {error}") from error
    if duplicates := repeated(labels.names):
        raise LabelError(f"{name}: each class needs a name of its own, got {', '.join(duplicates)} twice")
    return labels


def _problem(error: ErrorDetails) -> str:
    """What is wrong with a value, in a line: its place, what it must be, and what it is."""
    place, value = printable(".".join(map(str, error["loc"])), LONGEST_KEY), printable(str(error["input"]), LONGEST_KEY)
    if error["type"] == "extra_forbidden":
        return f"there is no key {place}; the keys are classes and ignore_index, and id, name and color of a class"
    if error["type"] == "value_error":
        return f"{place}: {error['msg'].removeprefix('Value error, ')}"
    return f"{place}: {RULES.get(error['type'], error['msg'])}, got {value}"


def _read(path: Path) -> object:
    suffix = path.suffix.lower()
    if suffix not in (".yaml", ".yml", ".csv", ".txt"):
        return read_json(path)
    text = read_text(path)
    if suffix in (".yaml", ".yml"):
        return parse_yaml(text)
    if suffix == ".csv":
        return {"classes": _pixel_classes(text)}
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    has_colors = any((match := MAP_LINE.fullmatch(line)) and MAP_COLOR.fullmatch(match["color"]) for line in lines)
    if has_colors or path.name.lower() == LABEL_MAP:
        return {"classes": _label_map_classes(lines)}
    return {"classes": [line for line in lines if line != IGNORED]}


def _pixel_classes(text: str) -> list[dict[str, Any]]:
    """The classes of lines `id, name` below a heading; raises `ValueError` for another line."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row]
    if wrong := [row for row in rows[1:] if len(row) != 2 or not row[0].isdecimal()]:
        raise ValueError(f"a line below the heading must be written id, name, got {', '.join(wrong[0])[:LONGEST_KEY]!r}")
    return [{"id": int(id_), "name": name} for id_, name in rows[1:]]


def _label_map_classes(lines: Sequence[str]) -> list[dict[str, Any]]:
    """The classes of lines `name:red,green,blue:parts:actions`, the background first.

    Other lines are comments if they begin with #; else raises `ValueError`.
    """
    classes = []
    for line in lines:
        match = MAP_LINE.fullmatch(line)
        if line.startswith("#") and not (match and MAP_COLOR.fullmatch(match["color"])):
            continue
        if not match:
            raise ValueError(f"a line must be written name:red,green,blue:parts:actions, got {line[:LONGEST_KEY]!r}")
        classes.append((match["name"], _hex_color(match["color"])))
    classes.sort(key=lambda entry: not is_background(entry[0]))
    return [{"id": index, "name": name, "color": color} for index, (name, color) in enumerate(classes)]


def _hex_color(text: str) -> str:
    channels = [part.strip() for part in text.split(",")]
    if len(channels) != 3 or not all(part.isdecimal() and int(part) < 256 for part in channels):
        raise ValueError(f"a colour must be written red,green,blue with 0 to 255 each, got {text[:LONGEST_KEY]!r}")
    red, green, blue = map(int, channels)
    return hex_color((red, green, blue))


def class_name(value: Any) -> str:
    """A class's name in composed Unicode (NFC), without surrounding blanks.

    Raises `LabelError` if it is not a line of text of at most `LONGEST_NAME` letters.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):  # YAML reads `no` as false
        raise LabelError(f"a name must be a text (in YAML, no and yes need quotes), got {printable(str(value), LONGEST_KEY)}")
    text = str(value).strip()
    if len(text) > LONGEST_NAME:
        raise LabelError(
            f"a name must have at most {LONGEST_NAME} letters, got '{printable(text, LONGEST_KEY)}', {len(text)} letters"
        )
    name = unicodedata.normalize("NFC", text)
    if not name or any(unicodedata.category(letter) in UNWRITABLE for letter in name):
        raise LabelError(f"a name must be a line of text, got '{printable(name, LONGEST_KEY)}'")
    return name


class _ClassEntry(BaseModel):
    """A class of a JSON or YAML file. Without a colour, it has VOC's."""

    model_config = ConfigDict(extra="forbid", strict=True)
    id: int
    name: Annotated[str, AfterValidator(class_name)]
    color: str = ""

    def label(self) -> LabelClass:
        """Raises `LabelError` for a colour that is none."""
        return LabelClass(
            self.id, self.name, parse_color(self.color) if "color" in self.model_fields_set else voc_color(self.id)
        )


class _ClassFile(BaseModel):
    """A JSON or YAML file of classes."""

    model_config = ConfigDict(extra="forbid", strict=True)
    classes: list[_ClassEntry]
    ignore_index: int = 255


def alike_names(names: Iterable[str]) -> list[str]:
    """A line for each group of names that differ by case, blanks, hyphens, underscores or wide letters alone."""
    groups: dict[str, dict[str, None]] = {}
    for name in names:
        groups.setdefault(name_key(name), {})[unicodedata.normalize("NFC", name.strip())] = None
    return [
        f"the classes {', '.join(map(repr, group))} have nearly one name: if they are one class, rename one where they "
        "were labelled and import again, or map both to one with fcn-train --class-map"
        for group in groups.values()
        if len(group) > 1
    ]


def near_name(name: str, names: Sequence[str]) -> str:
    """A name that is none of these, with the nearest one, if one is near."""
    near = get_close_matches(name[:LONGEST_KEY], names, 1)
    return f"{name!r} (did you mean {near[0]!r}?)" if near else repr(name)


def name_key(name: str) -> str:
    """The name without what `alike_names` does not tell apart."""
    text = "".join(unicodedata.normalize("NFKC", name).split())
    return "".join(letter for letter in unicodedata.normalize("NFKC", text.casefold()) if letter not in MARKS)
