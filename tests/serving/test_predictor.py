"""A predictor answers with one whole version at a time, in every way that KServe may ask it."""

import asyncio
import json
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kserve import InferInput, InferRequest
from kserve.errors import InvalidInput
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from cd4ml.errors import IntegrityError
from cd4ml.models.runtime import Bundle, holdout_rows
from cd4ml.serving.predictor import BundlePredictor
from cd4ml.serving.requests import Limits, decode_v1
from cd4ml.serving.routes import Exchange, build_routes
from tests.models.bundles import bundle, copy


def rows_of(name: str, count: int = 3) -> list[dict[str, Any]]:
    return holdout_rows(bundle(name))[:count]


def body_of(name: str, count: int = 3) -> bytes:
    return json.dumps({"instances": rows_of(name, count)}).encode()


def promised(name: str, count: int = 3) -> Any:
    return np.load(bundle(name) / "holdout" / "prediction.npy")[:count].astype(np.float64)


async def ask(
    routes: list[BaseRoute], path: str, body: bytes, before_body: Callable[[], None] = lambda: None
) -> tuple[int, bytes]:
    """Call the routes as a server does, without one."""
    sent: list[Any] = []

    async def receive() -> Any:
        before_body()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
    await Starlette(routes=routes)({**scope, "root_path": ""}, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def test_what_kserve_decoded_itself_is_answered_alike() -> None:
    predictor = BundlePredictor("people", bundle("people"))
    answer = predictor.predict({"instances": rows_of("people")})
    assert np.allclose(answer["predictions"], promised("people"), atol=1e-6)
    ages, plans, notes = ([row[name] for row in rows_of("people")] for name in ("age", "plan", "note"))
    inputs = [
        InferInput("age", [3], "INT64", ages),
        InferInput("plan", [3], "BYTES", plans),
        InferInput("note", [3], "BYTES", notes),
    ]
    second = predictor.predict(InferRequest("people", inputs, request_id="a"))
    assert second.id == "a"
    assert np.allclose(second.outputs[0].data, promised("people"), atol=1e-6)


def test_bad_input_is_invalid_to_kserve_and_names_the_field() -> None:
    predictor = BundlePredictor("people", bundle("people"))
    with pytest.raises(InvalidInput, match="field 'age' must be a whole number from 0 up to 120; found 121"):
        predictor.predict({"instances": [{"age": 121, "plan": "old"}]})
    with pytest.raises(InvalidInput):
        predictor.predict({"instances": [{1, 2}]})


def test_a_worker_that_gets_it_by_pickle_loads_the_same_bundle(tmp_path: Path) -> None:
    folder = copy("people", tmp_path / "people")
    predictor = BundlePredictor("people", folder, version="7", limits=Limits(rows=5))
    data = pickle.dumps(predictor)
    again = pickle.loads(data)
    assert (again.served.version, again.limits, again.ready) == ("7", Limits(rows=5), True)
    rows = decode_v1(body_of("people"), again.served.bundle.contract, again.limits)
    assert np.array_equal(
        again.answer(rows).outputs["prediction"], predictor.answer(rows).outputs["prediction"]
    )
    (folder / "contract.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"contract\.json"):
        _ = pickle.loads(data).served


def test_a_swap_to_an_altered_bundle_keeps_the_one_before(tmp_path: Path) -> None:
    folder = copy("people", tmp_path / "people")
    predictor = BundlePredictor("people", bundle("people"), version="1")
    (folder / "features" / "more.npy").write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"more\.npy"):
        predictor.swap(folder, "2")
    assert predictor.served.version == "1"
    assert pickle.loads(pickle.dumps(predictor)).served.version == "1"


def test_while_versions_are_swapped_each_answer_is_of_one_version() -> None:
    predictor = BundlePredictor("model", bundle("people"), version="people")
    routes: list[BaseRoute] = list(build_routes({"model": predictor}))
    bodies = {name: body_of(name, 2) for name in ("people", "shop")}

    def client(_: int) -> list[tuple[str, int, Any]]:
        answers = []
        for name in ["people", "shop"] * 30:
            status, body = asyncio.run(ask(routes, "/v1/models/model:predict", bodies[name]))
            answers.append((name, status, json.loads(body)))
        return answers

    with ThreadPoolExecutor(3) as pool:
        clients = [pool.submit(client, n) for n in range(2)]
        for name in ["shop", "people"] * 6:
            predictor.swap(bundle(name), name)
        answers = [answer for each in clients for answer in each.result()]
    for name, status, answer in answers:
        if status == 200:  # the contract of the version that answers is the one that was checked
            assert answer["model_version"] == name
            assert np.allclose(answer["predictions"], promised(name, 2), atol=1e-5)
        else:
            assert status == 400 and answer["field"]
    assert {200} <= {status for _, status, _ in answers} <= {200, 400}


@pytest.mark.parametrize("path", ["/v1/models/model:predict", "/v2/models/model/infer"])
def test_a_request_that_began_before_a_swap_is_answered_by_the_version_that_it_found(path: str) -> None:
    predictor = BundlePredictor("model", bundle("people"), version="people")
    inputs = [
        {"name": "age", "datatype": "INT64", "shape": [1], "data": [40]},
        {"name": "plan", "datatype": "BYTES", "shape": [1], "data": ["old"]},
    ]
    body = json.dumps({"inputs": inputs}).encode() if "v2" in path else body_of("people", 1)
    routes: list[BaseRoute] = list(build_routes({"model": predictor}))
    status, answer = asyncio.run(ask(routes, path, body, lambda: predictor.swap(bundle("shop"), "shop")))
    assert (status, predictor.served.version) == (200, "shop")
    assert json.loads(answer)["model_version"] == "people"


def test_listeners_hear_of_each_exchange_and_cannot_fail_it() -> None:
    heard: list[Exchange] = []

    def broken(_: Exchange) -> None:
        raise RuntimeError("disk full")

    predictor = BundlePredictor("people", bundle("people"), version="3")
    routes: list[BaseRoute] = list(build_routes({"people": predictor}, [broken, heard.append]))
    good = asyncio.run(ask(routes, "/v1/models/people:predict", body_of("people")))
    bad = asyncio.run(ask(routes, "/v2/models/people/infer", b"{}"))
    assert (good[0], bad[0]) == (200, 400)
    first, second = heard
    assert (first.protocol, first.status, first.version, first.model) == ("v1", 200, "3", "people")
    assert first.rows is not None and len(first.rows) == 3
    assert first.answer is not None and first.seconds > 0
    assert (second.protocol, second.status, second.field, second.rows) == ("v2", 400, "inputs", None)


def test_an_error_of_ours_tells_nothing_of_the_inside(caplog: pytest.LogCaptureFixture) -> None:
    predictor = BundlePredictor("people", bundle("people"))
    object.__setattr__(predictor.served, "_known", None)  # as broken as it can be
    routes: list[BaseRoute] = list(build_routes({"people": predictor}))
    status, body = asyncio.run(ask(routes, "/v1/models/people:predict", body_of("people")))
    assert status == 500
    assert b"Traceback" not in body and b"NoneType" not in body
    assert "NoneType" in caplog.text


def test_large_bodies_are_worked_on_beside_the_loop() -> None:
    predictor = BundlePredictor("shop", bundle("shop"))
    rows = rows_of("shop", 80) * 8
    body = json.dumps({"instances": rows}).encode()
    assert len(body) > 40_000
    routes: list[BaseRoute] = list(build_routes({"shop": predictor}))
    status, answer = asyncio.run(ask(routes, "/v1/models/shop:predict", body))
    assert status == 200
    expected = Bundle.load(bundle("shop")).predict_rows(rows)["prediction"]
    assert np.array_equal(json.loads(answer)["predictions"], expected)
