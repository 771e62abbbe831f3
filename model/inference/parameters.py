"""The parameters of a segmentation, in one table: those of `Rendering` and of `Options`, and the choice of the model."""

from __future__ import annotations

from imaging.parameters import Parameter, parameters_of
from imaging.rendering import RENDERING
from model.inference.plan import Options

OPTIONS = parameters_of(Options)
"""Those that say how the network sees the image, and which regions change, by name."""
MODEL = Parameter(
    name="model", type=str | None, help="a model of `/models` (default: the first)", group="on a running service",
    option="name of one of the service's models", unset="its first", metavar="NAME", values="a name",
)  # fmt: skip
PARAMETERS = RENDERING | OPTIONS | {MODEL.name: MODEL}
"""All of them, by name."""
