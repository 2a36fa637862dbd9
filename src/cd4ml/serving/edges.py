"""What is not a prediction: paths and methods that are not there, models that are not here, our own errors.

KServe's application answers these in several shapes, some as 501 or 500 with the text of an exception. Here
each is JSON with error, field, found and allowed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

import orjson
from kserve.errors import ModelNotFound, ModelNotReady, ServerNotReady
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from cd4ml.errors import nearest
from cd4ml.serving.requests import BadRequest

__all__ = ["Edge", "add_error_handlers", "refusal"]

_LOG = logging.getLogger("cd4ml.serving")
_JSON = {"content-type": "application/json"}
_OPEN = re.compile(
    r"/|/metrics|/v1/models(/[^/:]+)?|/v2(/health/(live|ready)|/models(/[^/]+/ready)?)?", re.ASCII | re.DOTALL
)
"""Paths of KServe's own that are reached, by GET."""
_PATHS = "a path of /openapi.json"


def refusal(error: BadRequest) -> Response:
    """Return the answer to a request that is refused."""
    response = Response(orjson.dumps(error.to_dict()), error.status, headers=_JSON)
    if error.status == 503:
        response.headers["retry-after"] = "1"
    if error.status == 408:
        response.headers["connection"] = "close"  # nobody knows when the rest of the body comes
    if error.status == 503:
        response.headers["retry-after"] = "1"
    return response


class Edge(BaseRoute):
    """Stands behind our routes and before KServe's, and refuses what neither may answer.

    Parameters
    ----------
    routes : sequence of routes
        Ours; a path of theirs with another method is refused with 405 and the methods that there are.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = tuple(routes)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match every path but KServe's open ones."""
        if scope["type"] != "http":
            return Match.NONE, {}
        opened = scope["method"] == "GET" and _OPEN.fullmatch(scope["path"])
        return (Match.NONE, {}) if opened and not self._methods(scope) else (Match.FULL, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse."""
        methods = self._methods(scope)
        if not methods and _OPEN.fullmatch(scope["path"]):
            methods = ["GET"]
        if methods:
            allowed = ", ".join(methods)
            response = refusal(BadRequest(405, "method", scope["method"][:60], allowed))
            response.headers["allow"] = allowed
        else:
            response = refusal(BadRequest(404, "path", _plain(scope["path"]), _PATHS))
        await response(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        """Name no path."""
        raise LookupError(name)

    def _methods(self, scope: Scope) -> list[str]:
        """Return the methods that our routes take of a path for which the one that came is wrong."""
        found: set[str] = set()
        for route in self._routes:
            if route.matches(scope)[0] is not Match.NONE:
                found |= getattr(route, "methods", None) or set()
        return sorted(found)


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:60])


def add_error_handlers(app: Any, models: Sequence[str]) -> None:
    """Put ours in the place of KServe's handlers of errors; call it after KServe has added its own."""

    async def unknown_model(request: Request, _: Exception) -> Response:
        found = _plain(str(request.path_params.get("model_name", "")))
        return refusal(BadRequest(404, "model", found + nearest(found, models), ", ".join(models)))

    async def not_ready(_: Request, __: Exception) -> Response:
        text = "the model is not ready; ask again later"
        document = {"error": text, "field": "", "found": "not ready", "allowed": "a model that is ready"}
        return Response(orjson.dumps(document), 503, headers={**_JSON, "retry-after": "1"})

    async def ours(request: Request, error: Exception) -> Response:
        _LOG.error("%s %s failed", request.method, _plain(request.url.path), exc_info=error)
        document = {"error": "the server failed; its log says more", "field": "", "found": "", "allowed": ""}
        return Response(orjson.dumps(document), 500, headers=_JSON)

    app.add_exception_handler(ModelNotFound, unknown_model)
    app.add_exception_handler(ModelNotReady, not_ready)
    app.add_exception_handler(ServerNotReady, not_ready)
    app.add_exception_handler(Exception, ours)
