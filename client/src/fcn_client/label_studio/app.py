"""The backend's routes: `/health`, `/setup`, `/predict`, `/webhook` and `/versions`."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fcn_client.aio import AsyncSegmentClient
from fcn_client.calls import TIMEOUT_S
from fcn_client.errors import BadRequest, SegmentError, ServerBusy
from fcn_client.label_studio.predicting import Control, Predictor, Unusable, read_control, version
from fcn_client.label_studio.studio import SETUP_S, Studio
from fcn_client.matching import check_aliases, match
from fcn_client.parameters import Options
from fcn_client.results import Model

CONCURRENCY = 4
MOST_BYTES = 256_000_000  # of a request's JSON: Label Studio sends tasks with all their annotations
log = logging.getLogger("fcn_client.label_studio")


@dataclass(frozen=True)
class Settings:
    """What the backend needs to know.

    service, api_key: the segmentation service and its key. options: of every request to it. tolerance: of polygons, in pixels.
    aliases: by class, its label in Label Studio, where the names differ. studio: Label Studio's address and key; without an
    address, both are those that its `/setup` sends. user, password: what Label Studio must send as HTTP Basic authentication;
    empty means nothing. setup_timeout: seconds that the service has to say which models it has.
    """

    service: str
    api_key: str | None = None
    options: Options = field(default_factory=Options)
    tolerance: float | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    studio: Studio = field(default_factory=Studio)
    user: str = ""
    password: str = ""
    setup_timeout: float = SETUP_S


class StudioBackend:
    """Answers the routes. It runs on one event loop, and fetches images and encodes answers in threads."""

    def __init__(self, settings: Settings, client: AsyncSegmentClient, quick: AsyncSegmentClient) -> None:
        """quick: a client that gives up within `settings.setup_timeout`."""
        self._settings = settings
        self._quick = quick
        self._studio = settings.studio
        self._predictor = Predictor(client, settings.options, settings.tolerance, settings.aliases)
        self._warning = self._version = ""
        self._turns = asyncio.Semaphore(CONCURRENCY)

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "UP", "model_class": "fcn-segment"})

    async def setup(self, request: Request) -> Response:
        """Names the model's version, and logs which labels have no class. 503 for no answer and for wrong options."""
        body = await _read_json(request)
        schema = _text(body, "schema")
        self._studio = self._studio_of(_text(body, "hostname"), _text(body, "access_token"))
        try:
            model = await self._model()
            check_aliases(self._settings.aliases, model.classes)
            if not self._version:
                with suppress(BadRequest, ServerBusy):  # an empty image is refused after wrong options
                    settings = self._settings
                    await self._quick.coco(b"", mask="polygons", tolerance=settings.tolerance, **settings.options)
        except (SegmentError, ValueError) as error:
            log.error("%s", error)
            return JSONResponse({"error": str(error)}, 503)
        try:
            control = read_control(schema)
            matches = match(model.classes, control.labels, self._settings.aliases)
            if rest := set(control.labels.values()) - set(matches.values()):
                choices = ", ".join(label.name for label in model.classes)
                self._warn_once(f"no class for the labels {', '.join(sorted(rest))}; classes are {choices}")
        except Unusable as error:
            self._warn_once(str(error))
        name = version({"name": model.name, "sha256": model.sha256})
        if name != self._version:
            log.info("connected; name the model %r in Label Studio, else it cannot sort tasks by score", name)
        self._version = name
        return JSONResponse({"model_version": name})

    async def predict(self, request: Request) -> Response:
        """A prediction for each task, in order; an empty list for a task that failed, which Label Studio asks for again."""
        body = await _read_json(request)
        tasks = body.get("tasks")
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise Unusable(f"tasks must be a list of objects, got {type(tasks).__name__}")
        control = read_control(_text(body, "label_config"))
        return JSONResponse({"results": await asyncio.gather(*(self._predict_task(task, control) for task in tasks))})

    async def webhook(self, request: Request) -> Response:
        """Takes Label Studio's events and does nothing: trainings are started with `fcn-train`."""
        event = (await _read_json(request)).get("action")
        log.info("event %s: nothing to do", event)
        return JSONResponse({"status": "ok"}, 201)

    async def versions(self, request: Request) -> Response:
        model = await self._model()
        return JSONResponse({"versions": [version({"name": model.name, "sha256": model.sha256})]})

    def _studio_of(self, hostname: str, token: str) -> Studio:
        """Label Studio as a caller of `/setup` names it. Raises `Unusable` if it would replace the address.

        The address of the settings always counts. Without one, the first that is sent counts until the end of the process:
        anyone who reaches the port could send another. A caller with the password may send another.
        """
        own = self._settings.studio
        if own.url:  # our key goes to our address alone
            return Studio(own.url, own.key or token)
        if self._studio.url and hostname != self._studio.url and not self._settings.user:
            raise Unusable(
                f"hostname is {hostname[:100]!r}, but Label Studio has connected from {self._studio.url!r}; "
                "set LABEL_STUDIO_URL to the right one and restart the backend"
            )
        return Studio(hostname, token)

    def _warn_once(self, message: str) -> None:
        """Logs a warning, unless the last was the same. Label Studio calls `/setup` whenever it shows a project's models."""
        if message != self._warning:
            log.warning("%s", message)
        self._warning = message

    async def _model(self) -> Model:
        """The model that answers. Raises `ValueError` if the service lacks it, else `SegmentError`."""
        name = self._settings.options.get("model")
        models = await self._quick.models()
        for model in models:
            if model.name == name or (name is None and model.default):
                return model
        raise ValueError(f"--model must be one of {', '.join(model.name for model in models)}, got {name!r}")

    async def _predict_task(self, task: Mapping[str, Any], control: Control) -> dict[str, Any] | list[Any]:
        number = task.get("id")
        data = task.get("data")
        image = data.get(control.field) if isinstance(data, dict) else None
        async with self._turns:
            try:
                if not isinstance(image, str):
                    raise Unusable(f"its data has no text {control.field!r} with an image's address")
                task_id = number if isinstance(number, int) else None
                content = await asyncio.to_thread(self._studio.fetch, image, task=task_id, timeout=TIMEOUT_S)
                return await self._predictor.predict(content, control)
            except (SegmentError, OSError, Unusable) as error:
                log.warning("task %s: %s", number, error)
                return []


def create_app(settings: Settings) -> Starlette:
    """The backend as an ASGI application. Raises `ValueError` for what cannot be used: an address, key, timeout or password."""
    if bool(settings.user) != bool(settings.password) or ":" in settings.user:  # RFC 7617, section 2
        raise ValueError("BASIC_AUTH_USER and BASIC_AUTH_PASS must both have a value, the user without a colon; or unset both")
    client = AsyncSegmentClient(settings.service, api_key=settings.api_key)
    quick = AsyncSegmentClient(settings.service, api_key=settings.api_key, timeout=settings.setup_timeout, retries=0)
    studio = StudioBackend(settings, client, quick)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client, quick:
            yield

    routes = [Route("/", studio.health), Route("/health", studio.health), Route("/versions", studio.versions)]
    posts = {"/setup": studio.setup, "/predict": studio.predict, "/webhook": studio.webhook}
    routes += [Route(path, endpoint, methods=["POST"]) for path, endpoint in posts.items()]
    backend = BasicAuthentication(settings.user, settings.password)
    guard = [Middleware(AuthenticationMiddleware, backend=backend, on_error=_unauthorized)] if settings.user else []
    return Starlette(
        routes=routes,
        middleware=guard,
        lifespan=lifespan,
        exception_handlers={Unusable: _bad_request, SegmentError: _bad_gateway},
    )


class BasicAuthentication(AuthenticationBackend):
    """Lets in requests with this user and password (RFC 7617)."""

    def __init__(self, user: str, password: str) -> None:
        self._user, self._credentials = user, f"{user}:{password}".encode()

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser]:
        scheme, _, value = conn.headers.get("Authorization", "").partition(" ")
        with suppress(ValueError):  # no base64, or no ASCII
            credentials = base64.b64decode(value, validate=True)
            if scheme.lower() == "basic" and secrets.compare_digest(credentials, self._credentials):
                return AuthCredentials(), SimpleUser(self._user)
        raise AuthenticationError("wrong user or password")


def _unauthorized(_: HTTPConnection, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 401, {"WWW-Authenticate": "Basic"})


async def _read_json(request: Request) -> dict[str, Any]:
    """The request's JSON object. Raises `Unusable` for other bodies, and for those above `MOST_BYTES`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise Unusable(f"the body has more than {MOST_BYTES / 1e6:g} MB")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"the body is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise Unusable(f"the body must be a JSON object, got {type(document).__name__}")
    return document


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name) or ""
    if not isinstance(value, str):
        raise Unusable(f"{name} must be text, got {type(value).__name__}")
    return value


async def _bad_request(request: Request, error: Exception) -> Response:
    log.warning("%s: %s", request.url.path, error)
    return JSONResponse({"error": str(error)}, 400)


async def _bad_gateway(request: Request, error: Exception) -> Response:
    log.error("%s: %s", request.url.path, error)
    return JSONResponse({"error": str(error)}, 502)
