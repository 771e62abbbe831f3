"""Says in words which values parameters accept, for errors about other values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, get_args

from app.api.schemas import QUERY_PARAMETERS, QueryModel
from app.telemetry import excerpt
from imaging.rendering import MaskEncoding


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
