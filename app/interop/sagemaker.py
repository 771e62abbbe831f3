"""The contract of Amazon SageMaker: `POST /invocations`, and `GET /ping`, which `app.interop.torchserve` has.

SageMaker replaces an instance whose `/ping` is not 200; it is 200 only while the service is ready.

Source: SageMaker AI Developer Guide, "Custom Inference Code with Hosting Services"; SageMaker Runtime, `InvokeEndpoint`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from app.api.schemas import SEGMENT_ROUTE
from app.api.segment import segment_image
from imaging.object_facts import OBJECT_HEADERS

ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"


class AttributesRoute(APIRoute):
    """A route that reads query parameters from the header for custom attributes too, because `InvokeEndpoint` has no query.

    It passes on no header of the answer but that one, so it says there what the answer says of its object.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_attributes(request: Request) -> Response:
            parts = (request.scope["query_string"], request.headers.get(ATTRIBUTES, "").encode("latin-1"))
            scope = {**request.scope, "query_string": b"&".join(filter(None, parts))}
            response = await handle(Request(scope, request.receive))
            if facts := {name: response.headers[each] for name, each in OBJECT_HEADERS.items() if each in response.headers}:
                response.headers[ATTRIBUTES] = "&".join(f"{name}={value}" for name, value in facts.items())
            return response

        return handle_attributes


router = APIRouter(tags=["Amazon SageMaker"], route_class=AttributesRoute)
router.add_api_route(
    "/invocations",
    segment_image,
    methods=["POST"],
    summary="Segment an image, as `/segment`",
    description="Parameters come in `X-Amzn-SageMaker-Custom-Attributes`, written as a query: `format=json&mask=rle`.",
    **SEGMENT_ROUTE,
)
