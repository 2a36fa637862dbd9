"""Errors that no caller can bring about by a request alone are answered like all others."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from kserve.errors import ModelNotFound, ModelNotReady, ServerNotReady
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from cd4ml.serving.edges import Edge, add_error_handlers, refusal
from cd4ml.serving.requests import BadRequest

KEYS = {"error", "field", "found", "allowed"}


def ask(app: Starlette, method: str, path: str) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.request(method, path)

    return asyncio.run(asked())


def failed(error: Exception, name: str = "shop") -> httpx.Response:
    async def fail(_: Request) -> Any:
        raise error

    app = Starlette(routes=[Route("/models/{model_name}", fail)])
    add_error_handlers(app, ["shop"])
    return ask(app, "GET", f"/models/{name}")


def test_an_error_of_ours_says_nothing_of_the_inside_to_the_caller_and_all_of_it_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = failed(RuntimeError("the password is 1234"))
    assert (answer.status_code, answer.json().keys()) == (500, KEYS)
    assert "1234" not in answer.text
    assert "1234" in caplog.text


@pytest.mark.parametrize("error", [ModelNotReady("shop"), ServerNotReady()])
def test_a_model_that_is_not_ready_asks_for_another_try(error: Exception) -> None:
    answer = failed(error)
    assert (answer.status_code, answer.headers["retry-after"], answer.json().keys()) == (503, "1", KEYS)


def test_an_unknown_model_is_answered_with_the_nearest_name(caplog: pytest.LogCaptureFixture) -> None:
    answer = failed(ModelNotFound("shpo"), "shpo")
    assert (answer.status_code, answer.json()["allowed"]) == (404, "shop")
    assert "did you mean 'shop'" in answer.json()["found"]
    assert caplog.text == ""  # whoever calls wrongly does not fill the log


def test_waiting_is_told_and_a_body_that_never_came_ends_the_connection() -> None:
    busy = refusal(BadRequest(503, "", "64 requests", "at most 64"))
    late = refusal(BadRequest(408, "", "5 bytes", "the whole body"))
    assert busy.headers["retry-after"] == "1"
    assert late.headers["connection"] == "close"
    assert json.loads(bytes(late.body)).keys() == KEYS


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/health/live", 200),
        ("GET", "/ours", 200),
        ("POST", "/ours", 405),
        ("POST", "/v2/health/live", 405),
        ("HEAD", "/v2/health/live", 405),
        ("GET", "/v2/repository/index", 404),
        ("POST", "/v1/models/shop:explain", 404),
        ("GET", "/v1/models/a%0Ab:c", 404),
    ],
)
def test_only_open_paths_of_another_application_are_reached(method: str, path: str, status: int) -> None:
    async def answer(_: Request) -> Any:
        return refusal(BadRequest(200, "", "", ""))

    ours = [Route("/ours", answer, methods=["GET"])]
    theirs = [Route("/{path:path}", answer, methods=["GET", "POST", "HEAD"])]
    asked = ask(Starlette(routes=[*ours, Edge(ours), *theirs]), method, path)
    assert asked.status_code == status
    if status == 405:
        assert asked.headers["allow"] in ("GET", "GET, HEAD")
