"""`POST /v1/models/NAME:explain` beside `:predict`, and the values that callers may choose from.

Bodies and refusals are those of `:predict`; the answer has the same predictions and says how they came about.
An explanation is no prediction event: whoever acts on a prediction asks `:predict` for it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cd4ml.errors import nearest
from cd4ml.serving.answers import Answer, encode_v1
from cd4ml.serving.choices import Choices
from cd4ml.serving.edges import refusal
from cd4ml.serving.explanation import Explainer, time_facts
from cd4ml.serving.logs import request_id
from cd4ml.serving.predictor import BundlePredictor, Served
from cd4ml.serving.requests import BadRequest, decode_v1
from cd4ml.serving.routes import find_model, read_body
from cd4ml.serving.work import Capacity, Work

__all__ = ["MOST_ROWS", "explain_routes"]

_LOG = logging.getLogger("cd4ml.serving")
_JSON = {"content-type": "application/json"}
MOST_ROWS = 16
"""Rows of one request: an explanation takes a hundred times as long as a prediction."""
_MOST_CHOICES = 200
_CAPACITY = Capacity(requests=32, seconds=30.0)
_IN_A_THREAD = sys.maxsize
_Act = Callable[[Request, BundlePredictor, Served], Awaitable[dict[str, Any]]]


@dataclass
class _Known:
    """What was made of the version that answers now."""

    served: Served
    explainer: Explainer
    choices: Choices


def explain_routes(models: Mapping[str, BundlePredictor]) -> list[Route]:
    """Return the routes; put them before those of KServe."""
    answers = _Explanations(models)
    return [
        Route("/v1/models/{name}:explain", answers.explain, methods=["POST"]),
        Route("/v1/models/{name}/choices", answers.overview, methods=["GET"]),
        Route("/v1/models/{name}/choices/{field}", answers.choices, methods=["GET"]),
    ]


class _Explanations:
    def __init__(self, models: Mapping[str, BundlePredictor]) -> None:
        self._models = models
        self._known: dict[str, _Known] = {}
        self._work = Work(_CAPACITY)

    async def explain(self, request: Request) -> Response:
        return await self._respond(request, self._explain)

    async def overview(self, request: Request) -> Response:
        return await self._respond(request, self._overview)

    async def choices(self, request: Request) -> Response:
        return await self._respond(request, self._choices)

    async def _respond(self, request: Request, act: _Act) -> Response:
        identity = request_id(request.headers)
        try:
            model, served = find_model(self._models, request)
            with self._work.place():
                found = await act(request, model, served)
            found |= {
                "model_name": model.name,
                "model_version": served.version,
                "model_variant": model.variant,
            }
            response = Response(orjson.dumps(found), headers=_JSON)
        except BadRequest as error:
            response = refusal(error)
        except Exception:
            # The caller learns nothing of the inside; the log has it under the id that the caller has.
            _LOG.exception("an explanation failed", extra={"request_id": identity})
            text = "the explanation failed; the server's log has the request's id (header Ce-Id)"
            document = {"error": text, "field": "", "found": "", "allowed": ""}
            response = Response(orjson.dumps(document), 500, headers=_JSON)
        response.headers["ce-id"] = identity
        return response

    async def _explain(self, request: Request, model: BundlePredictor, served: Served) -> dict[str, Any]:
        body = await read_body(request, model.limits)
        return await self._work.run(_IN_A_THREAD, partial(self._explained, body, model, served))

    def _explained(self, body: bytes, model: BundlePredictor, served: Served) -> dict[str, Any]:
        contract = served.bundle.contract
        rows = decode_v1(body, contract, model.limits)
        if len(rows) > MOST_ROWS:
            raise BadRequest(413, "", f"{len(rows)} rows", f"at most {MOST_ROWS} rows of an explanation")
        answer = model.answer(rows, served)
        explainer = self._of(model.name, served).explainer
        explained = explainer.explain(rows.columns, answer.outputs["prediction"])
        for row, one in enumerate(explained):
            one |= {name: float(values[row]) for name, values in answer.outputs.items()}
        return {
            **_plain(answer),
            "bundle": served.bundle.id,
            "scale": explainer.scale,
            "explanations": explained,
        }

    async def _overview(self, request: Request, model: BundlePredictor, served: Served) -> dict[str, Any]:
        known = await self._work.run(_IN_A_THREAD, lambda: self._of(model.name, served).choices.fields)
        fields = {name: {"count": len(choices)} for name, choices in known.items()}
        return {"fields": fields, "time": time_facts(served.bundle)}

    async def _choices(self, request: Request, model: BundlePredictor, served: Served) -> dict[str, Any]:
        field, most = str(request.path_params["field"]), _most(request.query_params.get("limit", "20"))
        inputs = served.bundle.inputs
        if field not in inputs:
            raise BadRequest(404, "field", field[:60] + nearest(field[:60], inputs), ", ".join(inputs))
        contains = request.query_params.get("contains", "")[:100]
        find = partial(self._find, model.name, served, field, contains, most)
        return await self._work.run(_IN_A_THREAD, find)

    def _find(self, name: str, served: Served, field: str, contains: str, most: int) -> dict[str, Any]:
        found, count = self._of(name, served).choices.find(field, contains, most)
        choices = [{"value": one.value, "about": one.about} for one in found]
        return {"field": field, "count": count, "choices": choices}

    def _of(self, name: str, served: Served) -> _Known:
        """Return what was made of a version; made anew after a swap."""
        known = self._known.get(name)
        if known is None or known.served is not served:
            known = _Known(served, Explainer(served.bundle), Choices(served.bundle))
            self._known[name] = known
        return known


def _plain(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(encode_v1(answer))
    return found


def _most(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= _MOST_CHOICES):
        raise BadRequest(400, "limit", text[:60], f"a whole number from 1 up to {_MOST_CHOICES}")
    return int(text)
