"""The routes of prediction over bytes: read within limits, answer, and tell whoever listens.

They stand before KServe's own routes of the same paths, which parse each V2 tensor with pydantic, read bodies
of any size and answer much bad input with a 500.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from cd4ml.errors import nearest
from cd4ml.serving.answers import Answer, encode_v1, encode_v2
from cd4ml.serving.edges import refusal
from cd4ml.serving.logs import MADE_ID, given_id, new_id, usable_id
from cd4ml.serving.openapi import build_openapi
from cd4ml.serving.predictor import BundlePredictor, Served
from cd4ml.serving.requests import BadRequest, Limits, Rows, decode_v1, decode_v2
from cd4ml.serving.telemetry import page
from cd4ml.serving.work import Capacity, Work

__all__ = ["Exchange", "Listener", "build_routes", "find_model", "read_body"]

_LOG = logging.getLogger("cd4ml.serving")
_JSON = {"content-type": "application/json"}
_LENGTH = "inference-header-content-length"


@dataclass(frozen=True)
class Exchange:
    """One request and what became of it.

    Attributes
    ----------
    request_id : str
        Of header `Ce-Id`, else `X-Request-Id`, else of the V2 body, else made here.
    variant : str
        Of the server: stable, canary, shadow.
    protocol : str
        "v1" or "v2".
    status : int
        HTTP status.
    seconds : float
        From the first byte read to the answer made.
    field : str
        The field that was refused; "" for none.
    rows, answer
        None where the request was refused.
    contract : mapping
        Of the version that answers; None where there is none of that name.
    """

    model: str
    version: str
    variant: str
    request_id: str
    protocol: str
    status: int
    seconds: float
    field: str = ""
    rows: Rows | None = None
    answer: Answer | None = None
    contract: Mapping[str, Any] | None = None


Listener = Callable[[Exchange], None]


@dataclass(frozen=True)
class _Done:
    body: bytes
    headers: Mapping[str, str]
    request_id: str
    rows: Rows
    answer: Answer


def build_routes(
    models: Mapping[str, BundlePredictor],
    listeners: Sequence[Listener] = (),
    capacity: Capacity | None = None,
) -> list[Route]:
    """Return the routes; put them before those of KServe.

    Parameters
    ----------
    listeners : sequence of callables
        Called with each exchange of prediction, in the process and loop that answered; they must not block.
    capacity : Capacity, optional
        What this process does at once.
    """
    prediction = _Prediction(models, tuple(listeners), Work(capacity or Capacity()))

    async def metadata(request: Request) -> Response:
        try:
            model, served = find_model(models, request)
        except BadRequest as error:
            return refusal(error)
        return Response(orjson.dumps(model.metadata(served)), headers=_JSON)

    async def openapi(request: Request) -> Response:
        model = next(iter(models.values()))
        served, limits = model.served, model.limits
        contract = served.bundle.contract
        most = limits.most_rows(contract)
        parts = (contract, served.output_types, most, served.example)
        document = build_openapi(model.name, served.version, *parts)
        return Response(orjson.dumps(document), headers=_JSON)

    v2 = "/v2/models/{name}"
    return [
        Route("/v1/models/{name}:predict", prediction.v1, methods=["POST"]),
        Route(f"{v2}/infer", prediction.v2, methods=["POST"]),
        Route(f"{v2}/versions/{{version}}/infer", prediction.v2, methods=["POST"]),
        Route(v2, metadata, methods=["GET"]),
        Route(f"{v2}/versions/{{version}}", metadata, methods=["GET"]),
        Route("/openapi.json", openapi, methods=["GET"]),
        Route("/metrics", _metrics, methods=["GET"]),
    ]


async def _metrics(request: Request) -> Response:
    # What several workers counted lies in files: reading them takes long enough to do it beside the loop.
    body, content_type = await asyncio.to_thread(page, None, request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type})


@dataclass
class _Asked:
    """One request of prediction, as far as it is known."""

    protocol: str
    request_id: str
    name: str
    start: float
    model: BundlePredictor | None = None
    served: Served | None = None
    field: str = ""
    done: _Done | None = None

    def headers(self) -> dict[str, str]:
        found = {"ce-id": self.request_id}
        if self.model is not None and self.served is not None:
            found |= {"x-cd4ml-version": self.served.version, "x-cd4ml-variant": self.model.variant}
        return found

    def exchange(self, status: int) -> Exchange:
        served, done = self.served, self.done
        return Exchange(
            self.name,
            served.version if served else "",
            self.model.variant if self.model else "",
            self.request_id,
            self.protocol,
            status,
            time.perf_counter() - self.start,
            self.field,
            done.rows if done else None,
            done.answer if done else None,
            served.bundle.contract if served else None,
        )


class _Prediction:
    """Both protocols of prediction."""

    def __init__(
        self, models: Mapping[str, BundlePredictor], listeners: tuple[Listener, ...], work: Work
    ) -> None:
        self._models = models
        self._listeners = listeners
        self._work = work

    async def v1(self, request: Request) -> Response:
        return await self._respond(request, "v1")

    async def v2(self, request: Request) -> Response:
        return await self._respond(request, "v2")

    async def _respond(self, request: Request, protocol: str) -> Response:
        made = request.scope.get(MADE_ID)
        given = (
            "" if made else given_id(request.headers)
        )  # the id of a V2 body comes before one that was made
        asked = _Asked(protocol, given, str(request.path_params["name"]), time.perf_counter())
        try:
            with self._work.place():
                response = await self._answer(request, asked)
        except BadRequest as error:
            asked.field, response = error.field, refusal(error)
        except Exception:
            # The caller learns nothing of the inside; the log has it under the id that the caller has.
            asked.request_id = asked.request_id or new_id()
            _LOG.exception("a prediction failed", extra={"request_id": asked.request_id})
            text = "the prediction failed; the server's log has the request's id (header Ce-Id)"
            document = {"error": text, "field": "", "found": "", "allowed": ""}
            response = Response(orjson.dumps(document), 500, headers=_JSON)
        asked.request_id = asked.request_id or new_id()
        response.headers.update(asked.headers())
        self._tell(asked, response.status_code)
        return response

    async def _answer(self, request: Request, asked: _Asked) -> Response:
        asked.model, asked.served = model, served = find_model(self._models, request)
        body = await read_body(request, model.limits)
        parts = (model, served, body, asked.protocol, asked.request_id, _json_bytes(request))
        asked.done = done = await self._work.run(len(body), partial(_work, *parts))
        asked.request_id = done.request_id
        return Response(done.body, headers=dict(done.headers))

    def _tell(self, asked: _Asked, status: int) -> None:
        if not self._listeners:
            return
        exchange = asked.exchange(status)
        for listener in self._listeners:
            try:
                listener(exchange)
            except Exception:  # what looks on never fails a request
                _LOG.exception("a listener failed", extra={"request_id": asked.request_id})


def _work(
    model: BundlePredictor, served: Served, body: bytes, protocol: str, request_id: str, size: int | None
) -> _Done:
    contract = served.bundle.contract
    if protocol == "v1":
        rows = decode_v1(body, contract, model.limits)
        request_id = request_id or new_id()
        answer = model.answer(rows, served)
        return _Done(encode_v1(answer), _JSON, request_id, rows, answer)
    rows = decode_v2(body, contract, model.limits, size)
    request_id = request_id or usable_id(rows.request_id or "") or new_id()
    answer = model.answer(rows, served)
    content, headers = encode_v2(answer, rows, rows.request_id or request_id)
    return _Done(content, headers, request_id, rows, answer)


def find_model(models: Mapping[str, BundlePredictor], request: Request) -> tuple[BundlePredictor, Served]:
    """Return the model and the version that answer a request from its beginning to its end."""
    name = request.path_params["name"]
    if name not in models:
        raise BadRequest(404, "model", name[:60] + nearest(name[:60], models), ", ".join(models))
    served = models[name].served
    version = request.path_params.get("version", served.version)
    if version != served.version:
        raise BadRequest(404, "version", version[:60], served.version)
    return models[name], served


async def read_body(request: Request, limits: Limits) -> bytes:
    """Return the body, unless it is too large or too slow; a body that is too large is not kept."""
    coding = request.headers.get("content-encoding", "identity")
    if coding != "identity":
        raise BadRequest(415, "Content-Encoding", coding[:60], "identity")
    allowed = f"a body of at most {limits.body_bytes} bytes"
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told[:20]) > limits.body_bytes:
        raise BadRequest(413, "", f"{told[:20]} bytes", allowed)
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for part in request.stream():
                size += len(part)
                if size > limits.body_bytes:
                    raise BadRequest(413, "", f"{size} bytes and more", allowed)
                parts.append(part)
    except TimeoutError:
        allowed = f"the whole body within {limits.body_seconds:g} s"
        raise BadRequest(408, "", f"{size} bytes", allowed) from None
    except ClientDisconnect:
        raise BadRequest(400, "", "the end of the connection", "a whole body") from None
    return b"".join(parts)


def _json_bytes(request: Request) -> int | None:
    told = request.headers.get(_LENGTH)
    if told is None:
        return None
    if not (told.isascii() and told.isdecimal()) or len(told) > 12:
        raise BadRequest(400, "Inference-Header-Content-Length", told[:60], "a whole number")
    return int(told)
