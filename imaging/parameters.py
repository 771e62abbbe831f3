"""What a parameter of a segmentation accepts, does and goes with.

Each parameter is a field of `Rendering` or `Options`, annotated with its `Parameter`. The HTTP schema, the command line, the
client and the pages are made from these fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

Group = Literal["content of the answer", "how the network sees the image", "regions", "pictures", "on a running service"]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter. `{formats}` in its texts stands for the formats that it goes with, in words.

    help: what it does, for HTTP and the pages. option: the same for the command line, which has no such option if it is empty.
    group: of the options. metavar: of the option's value. unset: what counts without the option, if that is not the default.
    formats: of the answer, those that use it; empty for all. with_polygons: those of them that use it only with
    `mask=polygons`. least, most: the range of its numbers; most: also of a text's characters. values, pattern, examples: of a
    text, what it may be, in words and as a regular expression. parse: reads its text; raises `ValueError`. synonyms: further
    names of its choices. by_service: whether the service chooses the value if a request does not, by its settings or by
    `Accept`. name, type, default: those of the field, which `parameters_of` sets.
    """

    help: str
    option: str = ""
    group: Group = "content of the answer"
    metavar: str | None = None
    unset: str | None = None
    formats: tuple[str, ...] = ()
    with_polygons: tuple[str, ...] = ()
    least: float = 0
    most: float = 0
    values: str = ""
    pattern: str = ""
    examples: tuple[str, ...] = ()
    parse: Callable[[str], Any] | None = None
    synonyms: Mapping[str, str] = field(default_factory=dict)
    by_service: bool = False
    name: str = ""
    type: Any = None
    default: Any = None

    @property
    def members(self) -> tuple[Any, ...]:
        """The types of its values, without None."""
        members = get_args(self.type) if get_origin(self.type) in (Union, UnionType) else (self.type,)
        return tuple(member for member in members if member is not NoneType)

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that it may have by name."""
        return tuple(choice for member in self.members if get_origin(member) is Literal for choice in get_args(member))

    @property
    def is_choice(self) -> bool:
        """Whether `choices` are all its values."""
        return all(get_origin(member) is Literal for member in self.members)

    @property
    def is_text(self) -> bool:
        """Whether HTTP, JSON and the command line write it as a text, which `parse` reads."""
        return any(get_origin(member) is not Literal and member not in (bool, int, float) for member in self.members)

    @property
    def about(self) -> str:
        return self.help.replace("{formats}", self.formats_in_words)

    @property
    def formats_in_words(self) -> str:
        """The formats that use it, as a query has them."""
        if not self.formats:
            return "every format"
        plain = ", ".join(format for format in self.formats if format not in self.with_polygons)
        words = [f"format={plain}"] if plain else []
        polygons = [f"format={' or '.join(self.with_polygons)} with mask=polygons"] if self.with_polygons else []
        return " and ".join(words + polygons)

    def own_name(self, value: Any) -> Any:
        """The choice that a synonym stands for; every other value as it is."""
        return self.synonyms.get(value, value) if isinstance(value, str) else value

    def read(self, value: Any) -> Any:
        """The field's value for one of HTTP, JSON or the command line, where a text may stand for it. Raises `ValueError`."""
        return self.parse(value) if self.is_text and self.parse else value

    def words_for(self, member: Any) -> str:
        """What a value of this type, a choice or a number, may be, in words such as `a number from 0 to 1`."""
        if get_origin(member) is Literal:
            return f"one of {', '.join(get_args(member))}" if len(get_args(member)) > 1 else str(get_args(member)[0])
        return f"a{' whole' if member is int else ''} number from {self.least:g} to {self.most:g}"

    def check(self, value: Any) -> None:
        """Raises `ValueError` for a value that the field may not have."""
        if value is self.default or (value is None and NoneType in get_args(self.type)):
            return
        words = []
        for member in self.members:
            number: type[Any] | None = {int: Integral, float: Real}.get(member)
            if get_origin(member) is Literal:
                words.append(self.words_for(member))
                accepts = isinstance(value, str) and value in get_args(member)
            elif number:
                words.append(self.words_for(member))
                accepts = isinstance(value, number) and not isinstance(value, bool) and self.least <= value <= self.most
            else:
                kind = get_origin(member) or member
                words.append(f"of the type {kind.__name__}{f', {self.values}' if self.values else ''}")
                accepts = isinstance(value, kind)
                if accepts and kind is str:
                    self.read(value)  # raises for a text that it does not read
            if accepts:
                return
        raise ValueError(f"{self.name} must be {' or '.join(words)}, got {value!r}")

    def is_used(self, format: str, mask: str) -> bool:
        """Whether an answer of this format, with this `mask`, depends on it."""
        return (not self.formats or format in self.formats) and (format not in self.with_polygons or mask == "polygons")


def parameters_of(owner: type[Any]) -> dict[str, Parameter]:
    """The parameters that are fields of a dataclass, by name and in their order."""
    hints = get_type_hints(owner, include_extras=True)
    parameters = {}
    for each in fields(owner):
        hint = hints[each.name]
        for parameter in getattr(hint, "__metadata__", ()) if get_origin(hint) is Annotated else ():
            default = each.default_factory() if callable(each.default_factory) else each.default
            parameters[each.name] = replace(parameter, name=each.name, type=get_args(hint)[0], default=default)
    return parameters


def read_values(parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields' values for those of HTTP, JSON or the command line that these parameters have. Raises `ValueError`."""
    return {name: parameter.read(values[name]) for name, parameter in parameters.items() if name in values}
