"""The query parameters of `/segment`, read by their model at once: FastAPI asks parameter by parameter, which takes longer
than all of its routing."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from app.schemas import SegmentQuery

PLACE = "query"


def segment_query(request: Request) -> SegmentQuery:
    """What the request asks for; of a parameter that comes twice, the last. Raises `RequestValidationError`."""
    try:
        return SegmentQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise RequestValidationError([entry | {"loc": (PLACE, *entry["loc"])} for entry in error.errors()]) from None


def query_parameters() -> dict[str, Any]:
    """OpenAPI parameters of `segment_query`."""
    properties = SegmentQuery.model_json_schema()["properties"]
    return {"parameters": [_parameter(name, schema) for name, schema in properties.items()]}


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": PLACE, "required": False, "schema": schema, "description": schema["description"]}
