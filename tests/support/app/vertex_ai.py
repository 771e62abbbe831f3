"""The variables that Vertex AI sets in a container, with the paths that it chooses where a model names none."""

from __future__ import annotations

VARIABLES = {
    "AIP_HTTP_PORT": "8080",
    "AIP_HEALTH_ROUTE": "/v1/endpoints/12/deployedModels/34",
    "AIP_PREDICT_ROUTE": "/v1/endpoints/12/deployedModels/34:predict",
    "AIP_STORAGE_URI": "",
    "AIP_MODE": "PREDICTION",
}
