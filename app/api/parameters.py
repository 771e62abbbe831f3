"""Reads the parameters of a request from its query, a form's fields or JSON, and checks their names.

Errors say in words which values are accepted.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, get_args

from fastapi import Depends, Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from app.api.errors import BadParameter
from app.api.hugging_face import HUGGING_FACE, UNAVAILABLE
from app.api.schemas import QUERY_PARAMETERS, QueryModel, SegmentQuery
from app.telemetry import VALUE_LENGTH, excerpt
from imaging.rendering import RENDERING, MaskEncoding
from model.inference.parameters import OPTIONS
from model.printable import printable


async def query_parameters(request: Request) -> SegmentQuery:
    """The parameters of the query. Raises `BadParameter`.

    FastAPI would read each parameter of the model on its own, which takes a fifth of the event loop's time for an image. It
    only describes them: `query_document`.
    """
    pairs = request.query_params.multi_items()
    _check_names([name for name, _ in pairs], "query")
    return SegmentQuery(_checked(dict(pairs), "query")) if pairs else SegmentQuery()


Parameters = Annotated[SegmentQuery, Depends(query_parameters)]
"""A dependency: the parameters in the query."""


def form_values(form: FormData) -> dict[str, object]:
    """The fields of a form that are named like parameters. Raises `BadParameter` if one comes twice or is a file.

    Other fields have no effect.
    """
    fields = [(name, value) for name, value in form.multi_items() if name in QUERY_PARAMETERS]
    _check_names([name for name, _ in fields], "form field")
    for name, value in fields:
        if isinstance(value, UploadFile):
            raise BadParameter(f"form field {name}: must be {accepted_values(name)}, got a file")
    return dict(fields)


def with_values(query: SegmentQuery, values: object, source: str) -> SegmentQuery:
    """The parameters of the query, and these values. values: by name. source: where they stand, for errors.

    Raises `BadParameter` if `values` is no mapping, and for a wrong value, an unknown name, or a name that the query has too.
    """
    if not isinstance(values, Mapping):
        raise BadParameter(f"{source}: must be an object of names and values, got {excerpt(values)}")
    _check_names(map(str, values), source)
    for name in values:
        if name in query.values:
            raise BadParameter(f"{source} {name}: the query has it too; give it once")
    return query.with_values(_checked(values, source))


def own_values(query: SegmentQuery) -> dict[str, Any]:
    """The values of `Rendering` and `Options` that a request chooses, by name, with its texts parsed. Raises `BadParameter`."""
    values = {name: value for name, value in query.values.items() if value is not None and name not in HUGGING_FACE}
    if "mask_threshold" in query.values:
        if "min_confidence" in query.values:
            raise BadParameter("mask_threshold and min_confidence mean the same; give one of them")
        values["min_confidence"] = query.values["mask_threshold"]
    own = {name: parameter.read(values[name]) for name, parameter in (RENDERING | OPTIONS).items() if name in values}
    if own.get("classes") == ():
        raise BadParameter(f"classes: must be names or ids of classes, with commas, got {excerpt(values['classes'])}")
    return own


def _checked(values: Mapping[str, object], source: str) -> dict[str, object]:
    """The values of known names, converted. Raises `BadParameter` for a wrong one."""
    try:
        return QueryModel.model_validate(dict(values)).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise BadParameter(describe(error.errors(), source)) from error


def _check_names(names: Iterable[str], source: str) -> None:
    for name, count in Counter(names).items():
        if name not in QUERY_PARAMETERS:
            raise BadParameter(f"{source} {printable(name, VALUE_LENGTH)}: {_no_such(name, list(QUERY_PARAMETERS))}")
        if count > 1:
            raise BadParameter(f"{source} {name}: it comes {count} times; give it once")


def _no_such(name: str, names: Sequence[str]) -> str:
    if name in UNAVAILABLE:
        return UNAVAILABLE[name]
    nearest = difflib.get_close_matches(name[:VALUE_LENGTH].lower(), names, n=1)
    advice = f"did you mean {nearest[0]}?" if nearest else "leave it out"
    return f"there is no such parameter; {advice} (/docs lists them)"


def describe(errors: Iterable[Mapping[str, Any]], source: str) -> str:
    """The detail of an error: for each wrong value, what is accepted and what came. errors: as `ValidationError.errors` gives.

    source: where the values stand, such as `query`.
    """
    wrong: dict[str, object] = {}
    for error in errors:
        name = next((str(part) for part in error["loc"] if part in QUERY_PARAMETERS), "")
        wrong.setdefault(name, error.get("input"))
    parts = (
        f"{source} {name}: must be {accepted_values(name)}, got {excerpt(value)}{_hint(name, value)}"
        for name, value in wrong.items()
    )
    return "; ".join(parts)


def _hint(name: str, value: object) -> str:
    """What to give for a value that another parameter takes."""
    return f"; give format=json&mask={value}" if name == "format" and value in get_args(MaskEncoding) else ""


def accepted_values(name: str) -> str:
    """The values that a parameter accepts, in words."""
    return words(_schemas().get(name, {}))


def words(schema: Mapping[str, Any]) -> str:
    """The values that a JSON schema accepts, in words, such as `a number from 0 to 1`."""
    if "anyOf" in schema:
        return " or ".join(words(part) for part in schema["anyOf"] if part.get("type") != "null")
    if choices := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        return f"one of {', '.join(map(str, choices))}" if len(choices) > 1 else str(choices[0])
    if "pattern" in schema and "description" in schema:  # the description of a pattern says what it allows
        return str(schema["description"])
    match schema.get("type"):
        case "boolean":
            return "true or false"
        case "integer":
            return f"a whole number{_span(schema)}"
        case "number":
            return f"a number{_span(schema)}"
    return f"text of at most {schema['maxLength']} characters" if "maxLength" in schema else "text"


def _span(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f" from {least:g} to {most:g}"
    if least is not None:
        return f" of at least {least:g}"
    return f" above {schema['exclusiveMinimum']:g}" if "exclusiveMinimum" in schema else ""


@cache
def _schemas() -> dict[str, Mapping[str, Any]]:
    schemas: dict[str, Mapping[str, Any]] = QueryModel.model_json_schema()["properties"]
    return schemas
