"""The contract of TorchServe's inference API, and of Multi Model Server and DJL Serving: `/predictions/{model}`, `/ping`.

Source: TorchServe documentation, "Inference API". Amazon SageMaker asks for `/ping`, too.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api.errors import NotFound
from app.api.query import Parameters, with_values
from app.api.schemas import SEGMENT_ROUTE, problem_responses, upload_body
from app.api.segment import Ready, answer_request
from app.api.state import UNAVAILABLE, ready
from app.serving.errors import UnknownModel
from model.inference.plan import MODEL

FIELDS = ("data", "body")
VERSION = "1.0"  # of each model; archives of TorchServe have it unless their author gives another
router = APIRouter(tags=["TorchServe"])


async def predict(request: Request, service: Ready, query: Parameters, model: str) -> Response:
    """Answers the image in the body, or in the form's field `data` or `body`, as `/segment`. Raises `NotFound`, too."""
    if request.path_params.get("version", VERSION) != VERSION:
        raise NotFound(f"each model has the version {VERSION} alone; leave the version out")
    try:
        service.registry.get(model)
    except UnknownModel as error:
        raise NotFound(str(error)) from error
    return await answer_request(request, service, with_values(query, [(MODEL.name, model)], "path"), FIELDS)


@router.get("/ping", summary="Readiness", responses=UNAVAILABLE)
async def ping(request: Request) -> dict[str, str]:
    """200 only while the service is ready, as `/health/ready`."""
    await ready(request)
    return {"status": "Healthy"}


PREDICTION = SEGMENT_ROUTE | {
    "summary": "Segment an image, as `/segment`",
    "openapi_extra": upload_body(FIELDS[0]), "responses": SEGMENT_ROUTE["responses"] | problem_responses([NotFound]),
}  # fmt: skip
for method in ("POST", "PUT"):  # `curl -T`, which TorchServe's pages show, is a PUT
    router.add_api_route("/predictions/{model}", predict, methods=[method], **PREDICTION)
router.add_api_route("/predictions/{model}/{version}", predict, methods=["POST", "PUT"], include_in_schema=False)
