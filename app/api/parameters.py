"""Reads the parameters of a request from its query, a form's fields or JSON, and checks their names."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from fastapi import Depends, Query, Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from app.api.accepted_values import accepted_values, describe
from app.api.errors import BadParameter
from app.api.schemas import SegmentQuery
from app.telemetry import VALUE_LENGTH, excerpt
from model.printable import printable

UNAVAILABLE = {"overlap_mask_area_threshold": "masks of different classes never overlap; leave it out"}
"""Parameters of other services that this one lacks, and why."""


async def check_names(request: Request) -> None:
    """Raises `BadParameter` for a query parameter that does not exist or comes twice."""
    _check_names([name for name, _ in request.query_params.multi_items()], "query")


async def query_parameters(_: Annotated[None, Depends(check_names)], query: Annotated[SegmentQuery, Query()]) -> SegmentQuery:
    """The parameters of the query. Raises `BadParameter` or `RequestValidationError`."""
    return query


Parameters = Annotated[SegmentQuery, Depends(query_parameters)]
"""A dependency: the parameters in the query."""


def form_values(form: FormData) -> dict[str, object]:
    """The fields of a form that are named like parameters. Raises `BadParameter` if one comes twice or is a file.

    Other fields have no effect.
    """
    fields = [(name, value) for name, value in form.multi_items() if name in SegmentQuery.model_fields]
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
        if name in query.model_fields_set:
            raise BadParameter(f"{source} {name}: the query has it too; give it once")
    try:
        return SegmentQuery.model_validate(query.model_dump(exclude_unset=True) | dict(values))
    except ValidationError as error:
        raise BadParameter(describe(error.errors(), source)) from error


def _check_names(names: Iterable[str], source: str) -> None:
    for name, count in Counter(names).items():
        if name not in SegmentQuery.model_fields:
            raise BadParameter(f"{source} {printable(name, VALUE_LENGTH)}: {_no_such(name, list(SegmentQuery.model_fields))}")
        if count > 1:
            raise BadParameter(f"{source} {name}: it comes {count} times; give it once")


def _no_such(name: str, names: Sequence[str]) -> str:
    if name in UNAVAILABLE:
        return UNAVAILABLE[name]
    nearest = difflib.get_close_matches(name[:VALUE_LENGTH].lower(), names, n=1)
    advice = f"did you mean {nearest[0]}?" if nearest else "leave it out"
    return f"there is no such parameter; {advice} (/docs lists them)"
