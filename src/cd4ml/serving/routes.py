"""The routes of prediction over bytes: read within limits, answer, and tell whoever listens.

They stand before KServe's own routes of the same paths, which parse each V2 tensor with pydantic, read bodies
of any size and answer much bad input with a 500.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from cd4ml.errors import nearest
from cd4ml.serving.answers import Answer, encode_v1, encode_v2
from cd4ml.serving.openapi import build_openapi
from cd4ml.serving.predictor import BundlePredictor, Served
from cd4ml.serving.requests import BadRequest, Limits, Rows, decode_v1, decode_v2

__all__ = ["Exchange", "Listener", "build_routes"]

_LOG = logging.getLogger("cd4ml.serving")
_INLINE_BYTES = 32_768
"""Larger bodies are worked on in a thread, so that health checks and single rows do not wait for them."""
_JSON = {"content-type": "application/json"}
_LENGTH = "inference-header-content-length"


@dataclass(frozen=True)
class Exchange:
    """One request and what became of it.

    Attributes
    ----------
    request_id : str
        Of header `Ce-Id`, else `X-Request-Id`, else of the V2 body, else made here.
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
    """

    model: str
    version: str
    request_id: str
    protocol: str
    status: int
    seconds: float
    field: str = ""
    rows: Rows | None = None
    answer: Answer | None = None


Listener = Callable[[Exchange], None]


@dataclass(frozen=True)
class _Done:
    body: bytes
    headers: Mapping[str, str]
    request_id: str
    rows: Rows
    answer: Answer


def build_routes(models: Mapping[str, BundlePredictor], listeners: Sequence[Listener] = ()) -> list[Route]:
    """Return the routes; put them before those of KServe.

    Parameters
    ----------
    listeners : sequence of callables
        Called with each exchange of prediction, in the process and loop that answered; they must not block.
    """
    prediction = _Prediction(models, tuple(listeners))

    async def metadata(request: Request) -> Response:
        try:
            model, served = _find(models, request)
        except BadRequest as error:
            return _refusal(error)
        return Response(orjson.dumps(model.metadata(served)), headers=_JSON)

    async def openapi(request: Request) -> Response:
        model = next(iter(models.values()))
        served, limits = model.served, model.limits
        contract = served.bundle.contract
        most = limits.most_rows(contract)
        document = build_openapi(model.name, served.version, contract, served.output_types, most)
        return Response(orjson.dumps(document), headers=_JSON)

    v2 = "/v2/models/{name}"
    return [
        Route("/v1/models/{name}:predict", prediction.v1, methods=["POST"]),
        Route(f"{v2}/infer", prediction.v2, methods=["POST"]),
        Route(f"{v2}/versions/{{version}}/infer", prediction.v2, methods=["POST"]),
        Route(v2, metadata, methods=["GET"]),
        Route(f"{v2}/versions/{{version}}", metadata, methods=["GET"]),
        Route("/openapi.json", openapi, methods=["GET"]),
    ]


class _Prediction:
    """Both protocols of prediction."""

    def __init__(self, models: Mapping[str, BundlePredictor], listeners: tuple[Listener, ...]) -> None:
        self._models = models
        self._listeners = listeners

    async def v1(self, request: Request) -> Response:
        return await self._respond(request, "v1")

    async def v2(self, request: Request) -> Response:
        return await self._respond(request, "v2")

    async def _respond(self, request: Request, protocol: str) -> Response:
        start = time.perf_counter()
        request_id = _request_id(request)
        name, version, done, field = str(request.path_params["name"]), "", None, ""
        try:
            model, served = _find(self._models, request)
            version = served.version
            body = await _read(request, model.limits)
            parts = (model, served, body, protocol, request_id, _json_bytes(request))
            inline = len(body) <= _INLINE_BYTES
            done = _work(*parts) if inline else await asyncio.to_thread(_work, *parts)
            request_id = done.request_id
            response = Response(done.body, headers={**done.headers, "ce-id": _header(request_id)})
        except BadRequest as error:
            field, response = error.field, _refusal(error)
        except Exception:
            # The caller learns nothing of the inside; the log has it under the id that the caller has.
            _LOG.exception("request %s failed", request_id)
            text = "the prediction failed; the server's log has the request's id (header Ce-Id)"
            response = Response(orjson.dumps({"error": text}), 500, headers=_JSON)
        response.headers.setdefault("ce-id", _header(request_id))
        self._tell(name, version, request_id, protocol, response.status_code, start, field, done)
        return response

    def _tell(
        self,
        name: str,
        version: str,
        request_id: str,
        protocol: str,
        status: int,
        start: float,
        field: str,
        done: _Done | None,
    ) -> None:
        if not self._listeners:
            return
        rows, answer = (done.rows, done.answer) if done else (None, None)
        seconds = time.perf_counter() - start
        exchange = Exchange(name, version, request_id, protocol, status, seconds, field, rows, answer)
        for listener in self._listeners:
            try:
                listener(exchange)
            except Exception:  # what looks on never fails a request
                _LOG.exception("a listener failed on request %s", request_id)


def _work(
    model: BundlePredictor, served: Served, body: bytes, protocol: str, request_id: str, size: int | None
) -> _Done:
    contract = served.bundle.contract
    if protocol == "v1":
        rows = decode_v1(body, contract, model.limits)
        request_id = request_id or str(uuid.uuid4())
        answer = model.answer(rows, served)
        return _Done(encode_v1(answer), _JSON, request_id, rows, answer)
    rows = decode_v2(body, contract, model.limits, size)
    request_id = request_id or rows.request_id or str(uuid.uuid4())
    answer = model.answer(rows, served)
    content, headers = encode_v2(answer, rows, rows.request_id or request_id)
    return _Done(content, headers, request_id, rows, answer)


def _find(models: Mapping[str, BundlePredictor], request: Request) -> tuple[BundlePredictor, Served]:
    """Return the model and the version that answer a request from its beginning to its end."""
    name = request.path_params["name"]
    if name not in models:
        raise BadRequest(404, "model", name[:60] + nearest(name[:60], models), ", ".join(models))
    served = models[name].served
    version = request.path_params.get("version", served.version)
    if version != served.version:
        raise BadRequest(404, "version", version[:60], served.version)
    return models[name], served


async def _read(request: Request, limits: Limits) -> bytes:
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


def _request_id(request: Request) -> str:
    return (request.headers.get("ce-id") or request.headers.get("x-request-id") or "")[:128]


def _header(text: str) -> str:
    """Return a text as a header can carry it."""
    return "".join(letter for letter in text[:128] if " " <= letter <= "~")


def _refusal(error: BadRequest) -> Response:
    response = Response(orjson.dumps(error.to_dict()), error.status, headers=_JSON)
    if error.status in (408, 413):
        response.headers["connection"] = "close"  # the rest of the body is not read
    return response
