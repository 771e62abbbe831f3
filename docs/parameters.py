"""Writes what the pages and the client say of the parameters, from their table.

`python -m docs.parameters` writes `client/src/fcn_client/parameters.py` and the tables of the pages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import get_args

from app.api.query import QUERY_PARAMETERS
from imaging.parameters import Group, Parameter
from model.inference.plan import PARAMETERS
from model.inference.small_regions import Area

ROOT = Path(__file__).parents[1]
COMMAND = "python -m docs.parameters"
WIDTH = 128
BY_GROUP = sorted(PARAMETERS.values(), key=lambda parameter: get_args(Group).index(parameter.group))
COMMON = [parameter for parameter in BY_GROUP if parameter.is_used("png", "rle") and parameter.name != "format"]
"""What a mask depends on: every method of the client has it."""


@dataclass(frozen=True)
class Method:
    """A method of the client.

    form: parameters that it asks for, unless its options say otherwise. adjustable: those of them that are options too.
    without: parameters of its format that its result has no place for.
    """

    name: str
    form: Mapping[str, str]
    adjustable: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def own(self) -> list[Parameter]:
        """The parameters that it has besides the common ones."""
        names = {"format", *self.form, *self.without, *(parameter.name for parameter in COMMON)} - {*self.adjustable}
        format, mask = self.form["format"], "polygons" if "mask" in self.adjustable else self.form.get("mask", "polygons")
        return [each for each in BY_GROUP if each.name not in names and each.is_used(format, mask)]

    @property
    def options(self) -> str:
        """The name of the type of its options."""
        return f"{self.name.title()}Options" if self.own else "Options"


METHODS = (
    Method("segment", {"format": "json", "mask": "png"}),
    Method("mask_png", {"format": "png"}),
    Method("overlay", {"format": "overlay", "image_format": "jpeg"}, adjustable=("image_format",)),
    Method("cutout", {"format": "cutout"}),
    Method("polygons", {"format": "json", "mask": "polygons"}, without=("confidence",)),
    Method("coco", {"format": "coco", "mask": "rle"}, adjustable=("mask",)),
)
NARROWED = {"mask": ("rle", "polygons")}
"""Choices that the client offers of a parameter, where others would give the same answers."""
TEXTS = {tuple[str, ...]: "Classes", Area: "int | str"}
"""The client's types of texts that may also be something else."""


def main(root: Path = ROOT) -> None:
    for path, make in FILES.items():
        file = root / path
        text = make(file.read_text() if file.exists() else "")
        file.write_text(text)


def client_file(_: str) -> str:
    """`fcn_client/parameters.py`: the types of the parameters, the options of every method, the query of each."""
    parameters = {parameter.name: parameter for method in METHODS for parameter in [*COMMON, *method.own]}
    choices = {
        name: NARROWED.get(name, parameter.choices) + ((int,) if int in parameter.members else ())
        for name, parameter in parameters.items()
        if parameter.choices
    }
    aliases = [f"{_alias(name)} = {_literal(values)}" for name, values in choices.items()]
    forms = [f'    "{method.name}": {_dict(method.form)},' for method in METHODS]
    own = [line for method in METHODS if method.own for line in _options(method)]
    names = [f'    "{method.name}": tuple({method.options}.__annotations__),' for method in METHODS]
    return "\n".join([
        f'"""The service\'s parameters. `{COMMAND}` in the service\'s repository writes this file."""', "",
        "from __future__ import annotations", "", "from collections.abc import Iterable",
        "from typing import Literal, TypedDict", "", *aliases, "Classes = str | int | Iterable[str | int]",
        '"""Names or ids of classes: one, several with commas, or a list."""', "", "",
        "class Options(TypedDict, total=False):",
        '    """Options of every method. The service chooses the value of a missing option or None."""', "",
        *_fields(COMMON, lambda parameter: parameter.about), *own, "", "",
        "FORMS: dict[str, dict[str, str]] = {", *forms, "}",
        '"""What each method asks for, unless its options say otherwise."""',
        "NAMES: dict[str, tuple[str, ...]] = {", *names, "}", '"""The options of each method."""', "",
    ])  # fmt: skip


def client_page(text: str) -> str:
    """A page about the client: the arguments of all methods, and those of each."""
    names = [f"`{parameter.name}`" for parameter in COMMON]
    text = _replaced(text, "Every method has the arguments ", f"{', '.join(names[:-1])} and {names[-1]}", r"[`\w, ]")
    for method in filter(lambda each: each.own, METHODS):
        cell = ", ".join(f"`{each.name}`" for each in method.own) + " "
        text = _replaced(text, rf"\n\| `{method.name}`.* \| ", cell, r"[`\w, ]")
    return text


def http_page(text: str) -> str:
    """The page about HTTP: every parameter with its values, what it does, and the formats that it goes with."""
    parameters = sorted(QUERY_PARAMETERS.values(), key=lambda parameter: get_args(Group).index(parameter.group))
    cells = [
        (f"`{each.name}`", _values(each), each.help.removesuffix("; with {formats}"), each.formats_in_words)
        for each in parameters
    ]
    head = r"\n\| query \| values \| what it does \| goes with \|\n\|---\|---\|---\|---\|\n"
    return _replaced(text, head, "".join(f"| {' | '.join(row)} |\n" for row in cells), r"\| .*\n")


FILES: dict[str, Callable[[str], str]] = {
    "client/src/fcn_client/parameters.py": client_file,
    "docs/python.md": client_page,
    "docs/http-api.md": http_page,
}
"""The files that `main` writes, and how each is made of its text."""


def _replaced(text: str, before: str, new: str, old: str) -> str:
    """The text with `new` in place of all `old` that follows `before`. Both are regular expressions."""
    if not re.search(before, text):
        raise ValueError(f"no {before!r} in the file; write it by hand, and {COMMAND} fills it")
    return re.sub(rf"({before})(?:{old})*", lambda match: match[1] + new, text, count=1)


def _values(parameter: Parameter) -> str:
    """The values of a parameter, in words for a table."""
    if parameter.is_text:
        return parameter.values
    default = None if parameter.by_service else parameter.default
    if parameter.type is bool:
        return ", ".join(f"`{str(value).lower()}`" + " (default)" * (value == default) for value in (True, False))
    parts = [f"`{choice}`" + " (default)" * (choice == default) for choice in parameter.choices]
    if {int, float} & {*parameter.members}:
        of_number = f" (default {default:g})" if isinstance(default, int | float) else ""
        parts.append(f"{parameter.least:g} to {parameter.most:g}{of_number}")
    return ", ".join(parts)


def _options(method: Method) -> list[str]:
    """The lines of the type of a method's options."""
    return [
        "", "", f"class {method.options}(Options, total=False):", f'    """Options of `{method.name}`."""', "",
        *_fields(method.own, lambda parameter: re.sub(r"^with \w+: |; with {formats}", "", parameter.option)),
    ]  # fmt: skip


def _fields(parameters: Iterable[Parameter], about: Callable[[Parameter], str]) -> list[str]:
    """The lines of the options of these parameters. about: says what one does."""
    return [
        line
        for each in parameters
        for line in (*(f"    # {text}" for text in wrap(about(each), WIDTH - 6)), f"    {each.name}: {_type(each)} | None")
    ]


def _type(parameter: Parameter) -> str:
    """The client's type of a parameter."""
    if parameter.choices:
        return _alias(parameter.name)
    return TEXTS.get(parameter.members[0], "str") if parameter.is_text else parameter.members[0].__name__


def _alias(name: str) -> str:
    return name.title().replace("_", "")


def _literal(values: Iterable[object]) -> str:
    texts = [_quoted(value) for value in values if isinstance(value, str)]
    return f"Literal[{', '.join(texts)}]" + " | int" * (int in values)


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _dict(values: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{_quoted(name)}: {_quoted(value)}" for name, value in values.items()) + "}"


if __name__ == "__main__":
    main()
