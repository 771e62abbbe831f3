"""The parameters of a request: their table, the check of their names and values, and the options that they ask for.

They stand in the query, in a form's fields or in JSON. Errors say in words which values are accepted.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, create_model

from app.api.errors import BadParameter
from app.settings import Settings
from common.printable import VALUE_LENGTH, excerpt, printable
from imaging.parameters import Parameter
from imaging.rendering import Rendering, parse_classes
from model.inference.plan import PARAMETERS, Options

NEAR = 0.8  # likeness from which a field of a form is a parameter's typing error: forms have fields of other programs
UPLOADERS = "name"  # a field that some programs send with each file; `names` resembles it
MOST_CHARACTERS = 4096  # of a parameter in a query or a body
HUGGING_FACE = {
    each.name: each
    for each in (
        Parameter(
            name="mask_threshold", type=float, default=0, least=0, most=1, formats=("hf",),
            help="with hf: pixels of less confidence are in no mask, as with `min_confidence`",
        ),
        Parameter(
            name="subtask", type=Literal["semantic"], default="semantic", formats=("hf",),
            help="with hf: the only task of these models",
        ),
    )
}  # fmt: skip
"""The parameters that only Hugging Face's `image-segmentation` task has. `make_options` says what they are here."""
LACKING = {"overlap_mask_area_threshold": "masks of different classes never overlap; leave it out"}
"""Parameters of the task that this service lacks, and why. They resemble others."""
QUERY_PARAMETERS = PARAMETERS | HUGGING_FACE
"""The parameters of `/segment`, by name."""
Query = Mapping[str, Any]
"""The parameters of a request: checked values, by name."""


def field_of(parameter: Parameter) -> tuple[Any, Any]:
    """The type and the default of a parameter's field, with its description and its range. The type has the parameter."""
    limits = Field(ge=parameter.least, le=parameter.most)
    kinds = [Annotated[kind, limits] if kind in (int, float) else kind for kind in parameter.members]
    kind = _text(parameter) if parameter.is_text else reduce(or_, kinds)
    if parameter.synonyms:
        kind = Annotated[kind, BeforeValidator(parameter.own_name)]
    default = None if parameter.by_service or parameter.is_text else parameter.default
    kind = kind if default is not None else kind | None
    return Annotated[kind, parameter], Field(default, description=parameter.about)


def _text(parameter: Parameter) -> Any:
    if not parameter.pattern:
        return Annotated[str, Field(max_length=_most_characters(parameter))]
    limits = Field(pattern=f"^{parameter.pattern}$", description=parameter.values, examples=list(parameter.examples))
    return Annotated[str, limits, BeforeValidator(lambda value: str(value) if type(value) is int else value)]  # from JSON


def _most_characters(parameter: Parameter) -> int:
    return int(parameter.most) or MOST_CHARACTERS


QUERY_FIELDS: dict[str, Any] = {name: field_of(parameter) for name, parameter in QUERY_PARAMETERS.items()}
QueryModel = create_model("QueryModel", __doc__="Query parameters of `/segment`.", **QUERY_FIELDS)
"""Checks the parameters of a query, a form or JSON."""


async def query_parameters(request: Request) -> Query:
    """The parameters of the query. Raises `BadParameter`.

    FastAPI would read each parameter of the model on its own, which takes a fifth of the event loop's time for an image. It
    only describes them: `app.api.schemas.query_document`.
    """
    return with_values({}, request.query_params.multi_items(), "query")


Parameters = Annotated[Query, Depends(query_parameters)]
"""A dependency: the parameters in the query."""


def with_values(
    query: Query,
    pairs: Iterable[tuple[str, object]],
    source: str,
    names: Collection[str] = QUERY_PARAMETERS,
    model: type[BaseModel] = QueryModel,
) -> Query:
    """The parameters of the query, and these names and values. source: where they stand, for errors. names: of the route's.

    model: checks the values.

    Raises `BadParameter` for a wrong value, an unknown name, or a name that comes twice or that the query has too.
    """
    values: dict[str, object] = {}
    for name, value in pairs:
        if name not in names:
            near = nearest(name, names)
            advice = f"did you mean {near}?" if near else "leave it out"
            problem = LACKING.get(name) or f"there is no such parameter; {advice} (/docs lists them)"
            raise BadParameter(f"{source} {printable(name, VALUE_LENGTH)}: {problem}")
        if name in values or name in query:
            place = "it comes twice" if name in values else "the query has it too"
            raise BadParameter(f"{source} {name}: {place}; give it once")
        values[name] = value
    if not values:
        return query
    try:
        parameters = model.model_validate(values).model_dump(exclude_unset=True, exclude_none=True)
        return {**query, **parameters}
    except ValidationError as error:
        raise BadParameter("; ".join(_wrong_values(error, source, model))) from error


def nearest(name: str, names: Collection[str], least: float = 0.6) -> str | None:
    """The most similar of the names, of at least this likeness from 0 to 1 (`difflib`); None if there is none."""
    return next(iter(difflib.get_close_matches(name[:VALUE_LENGTH].lower(), names, n=1, cutoff=least)), None)


def form_values(
    query: Query,
    fields: Iterable[tuple[str, object]],
    names: Collection[str] = QUERY_PARAMETERS,
    model: type[BaseModel] = QueryModel,
) -> Query:
    """As `with_values`, for the fields of a form. Ignores texts whose names are not `NEAR` a parameter's, and files."""
    own = [
        (name, value)
        for name, value in fields
        if name in names or (isinstance(value, str) and name != UPLOADERS and nearest(name, names, NEAR))
    ]
    return with_values(query, own, "form field", names, model)


def json_values(query: Query, values: object) -> Query:
    """As `with_values`, for the object `parameters` of a request's JSON, or None. Raises `BadParameter`."""
    if values is not None and not isinstance(values, dict):
        raise BadParameter(f"parameters: must be an object of names and values, got {excerpt(values)}")
    return with_values(query, (values or {}).items(), "parameters")


def make_options(settings: Settings, query: Query, file_name: str, picture: str = "png") -> Options:
    """The options of a request, from its query, which has a `format`, or else from the settings.

    file_name: of the image, which COCO documents contain. picture: the image format of `color` and `overlay`, if the query
    has none. Raises `BadParameter`.
    """
    values = {"overlap": settings.overlap, "blend": settings.blend, **query}
    if query["format"] in ("color", "overlay"):
        values.setdefault("image_format", picture)
    if "mask_threshold" in query:
        if "min_confidence" in query:
            raise BadParameter("mask_threshold and min_confidence mean the same; give one of them")
        if query["mask_threshold"]:  # 0 leaves all pixels, in each format
            values["min_confidence"] = query["mask_threshold"]
    if not parse_classes(values.get("classes", "all")):
        raise BadParameter(f"classes: must be names or ids of classes, with commas, got {excerpt(values['classes'])}")
    name = file_name if query["format"] == "coco" else Rendering.name
    try:
        options = Options.of(values, tile=settings.tile, name=name)
        options.rendering.check_uses(HUGGING_FACE[each] for each in HUGGING_FACE if each in query)
    except ValueError as error:
        raise BadParameter(str(error)) from error
    return options


def _wrong_values(errors: ValidationError, source: str, model: type[BaseModel]) -> Iterable[str]:
    """For each wrong value, what is accepted and what came."""
    for name, value in {str(error["loc"][0]): error["input"] for error in errors.errors()}.items():
        (parameter,) = (each for each in model.model_fields[name].metadata if isinstance(each, Parameter))
        value_text = accepted(parameter)
        advice = f"; write {excerpt(','.join(map(str, value)))}" if isinstance(value, list) and "text" in value_text else ""
        yield f"{source} {name}: must be {value_text}, got {excerpt(value)}{advice}"


def accepted(parameter: Parameter) -> str:
    """The values that a parameter of HTTP may have, in words. A pattern's words say what it allows."""
    if parameter.is_text:
        return parameter.values if parameter.pattern else f"text of at most {_most_characters(parameter)} characters"
    return " or ".join("true or false" if member is bool else parameter.words_for(member) for member in parameter.members)
