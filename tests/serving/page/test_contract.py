"""The page is a consumer like any other: it sends and uses what its contract names, and no more."""

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from cd4ml.adapters import problem_files
from cd4ml.adapters.consumer_files import ConsumerStore, load, loads
from cd4ml.adapters.storage import open_store
from cd4ml.cli.main import main
from cd4ml.domain.consumer_contract import ConsumerContract
from cd4ml.features.plan import compile_plan
from cd4ml.models.consumers import draft_contract
from cd4ml.models.contract import build_contract
from cd4ml.models.rows import columns_from_rows
from cd4ml.models.runtime import Bundle
from cd4ml.serving.page.endpoint import Endpoint, Known
from cd4ml.serving.page.form import read_row
from cd4ml.serving.page.server import build_app
from cd4ml.steps.consumers import Champion, hold_against
from tests.models.bundles import bundle
from tests.serving.model_server import Running
from tests.serving.page.live_page import live
from tests.serving.page.recorder import Recorder, recording
from tests.serving.page.test_page import ROW


@pytest.fixture
def contract() -> ConsumerContract:
    text = resources.files("cd4ml.serving.page").joinpath("consumer.yaml").read_text(encoding="utf-8")
    return loads(text, "consumer.yaml")


@pytest.fixture
def before(shop_server: Running) -> Iterator[Recorder]:
    with recording(shop_server.url) as found:
        yield found


def test_the_form_of_sales_forecast_sends_the_fields_that_the_contract_names(
    contract: ConsumerContract,
) -> None:
    problem = problem_files.load("sales-forecast")
    inputs = compile_plan(problem).inputs
    serving = build_contract(problem, inputs)
    given = {"date": "2017-08-16", "store_nbr": "3", "item_nbr": "281668", "onpromotion": "true"}

    row = read_row(Known(serving, {}, None), given)

    assert tuple(sorted(row)) == contract.fields
    assert row in [dict(request.row) for request in contract.requests]
    assert read_row(Known(serving, {}, None), {**given, "onpromotion": ""})["onpromotion"] is None
    assert contract.relies_on.accepts_null == ("onpromotion",)
    columns_from_rows(serving, [dict(request.row) for request in contract.requests])


def test_the_page_asks_one_row_at_a_time_and_uses_the_outputs_that_are_named(
    contract: ConsumerContract, before: Recorder
) -> None:
    drafted = draft_contract(bundle("shop"), "forecast-page", "buyers")
    before.replaced = {
        ":predict": '{"predictions": [4.5], "model_version": "1"}'
    }  # nothing but what is named
    with live(build_app(Endpoint(before.url, "shop"))) as page:
        answer = page.get("/forecast", params=ROW)

    assert answer.status_code == 200 and "4.5" in answer.text
    assert set(contract.relies_on.outputs) == {"prediction"}
    asked = [body["instances"] for _, _, body, _ in before.asked if body]
    assert asked and all(len(rows) <= contract.relies_on.rows_per_request for rows in asked)
    assert all(tuple(sorted(row)) == drafted.fields for rows in asked for row in rows)


def test_a_bundle_is_held_against_what_the_page_sends(before: Recorder) -> None:
    with live(build_app(Endpoint(before.url, "shop"))) as page:
        page.get("/forecast", params=ROW)
    text = {"consumer": "forecast-page", "problem": "corner-shop", "owner": "buyers"}
    rows = [{"row": row} for row in before.rows()[:1]]
    made = loads(json.dumps({**text, "relies_on": {"outputs": {"prediction": {"min": 0}}}, "requests": rows}))
    found = hold_against(
        Bundle.load(bundle("shop")), [("forecast-page", made)], Champion("not_compared", reason="-")
    )
    gate = found["gates"][0]
    assert (gate["name"], gate["status"]) == ("consumer:forecast-page", "pass")


def test_the_command_prints_a_contract_that_can_be_added(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["page", "--contract"]) == 0
    file = tmp_path / "forecast-page.yaml"
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    store = ConsumerStore(open_store(str(tmp_path / "store")))
    store.add(load(file), by="a planner", reason="the page is in use")
    assert store.get("sales-forecast", "forecast-page") == load(file)


def test_the_command_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["page"]) == 2
    assert "--endpoint and --model" in capsys.readouterr().err
    assert main(["page", "--endpoint", "localhost:1", "--model", "x"]) == 2
    assert "http://localhost:8080" in capsys.readouterr().err
