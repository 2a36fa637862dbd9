"""The forecast page before a real model server: what it asks, what it shows, what it refuses."""

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from cd4ml.serving.page.decisions import FILE, DecisionLog
from cd4ml.serving.page.endpoint import Endpoint
from cd4ml.serving.page.server import build_app
from tests.serving.model_server import Running, free_port
from tests.serving.page.live_page import live, origin
from tests.serving.page.recorder import Recorder, recording

ROW = {
    "day": "2020-06-09",
    "store": "north",
    "promoted": "true",
    "price": "4.5",
    "weather": "sun",
    "visitors": "30",
    "opened": "2020-06-09T08:00",
}


@pytest.fixture
def before(shop_server: Running) -> Iterator[Recorder]:
    with recording(shop_server.url) as found:
        yield found


@pytest.fixture
def page(before: Recorder, tmp_path: Path) -> Iterator[httpx.Client]:
    app = build_app(Endpoint(before.url, "shop"), DecisionLog(tmp_path))
    with live(app) as client:
        yield client


def text_of(answer: Any) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def asked_id(answer: Any) -> str:
    found = re.search(r'name="id" value="([^"]+)"', answer.text)
    assert found, answer.text
    return found[1]


def decide(page: httpx.Client, **fields: str) -> Any:
    return page.post("/decisions", data=fields, headers={"Origin": origin(page)})


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def test_the_form_is_made_of_the_contract(page: httpx.Client) -> None:
    text = page.get("/").text
    assert '<input type="date" id="field-day" name="day" value="2020-06-09"' in text
    assert '<input type="checkbox" value="true" id="field-promoted" name="promoted"' in text
    assert re.search(r'<input type="number" step="any" inputmode="decimal" min="0.5" max="20(.0)?" ', text)
    assert '<option value="östlich">' in text  # a known store is suggested, and others can be typed
    assert re.search(
        r'<select id="field-weather" name="weather"[^>]*><option value="" selected>no value', text
    )
    assert "of the basket; from 0.5 to 20; may be empty" in text
    assert 'type="datetime-local"' in text


def test_a_forecast_comes_with_its_interval_its_weeks_its_reasons_and_its_version(
    page: httpx.Client, before: Recorder, shop_server: Running
) -> None:
    answer = page.get("/forecast", params=ROW)

    row = before.rows()[0]
    assert row == {**ROW, "promoted": True, "price": 4.5, "visitors": 30}
    served = shop_server.v1([row]).json()
    text = text_of(answer)
    assert answer.status_code == 200
    assert f"{served['predictions'][0]:.1f}".rstrip("0").rstrip(".") in text
    assert served["model_version"] in text and "stable" in text
    assert re.search(r"[\d.]+ to [\d.]+ : 90 % of the values lay", text)
    assert "units: the last weeks and the forecast" in text and "mean of units over 1 week" in text
    assert re.search(r"Promoted|promoted: yes|promoted: 1", text)
    assert '<th scope="row">2020-06-08</th>' in answer.text


def test_the_prediction_and_its_explanation_are_asked_under_one_id(
    page: httpx.Client, before: Recorder
) -> None:
    identity = asked_id(page.get("/forecast", params=ROW))
    ids = {
        path.rpartition(":")[2]: headers["ce-id"]
        for method, path, _, headers in before.asked
        if method == "POST"
    }
    assert ids == {"predict": identity, "explain": identity}


def test_an_endpoint_without_explanations_still_gives_forecasts(page: httpx.Client, before: Recorder) -> None:
    before.without = (":explain", "/choices")
    assert page.get("/").status_code == 200
    answer = page.get("/forecast", params=ROW)
    assert answer.status_code == 200
    assert "This endpoint does not explain its predictions." in text_of(answer)
    assert asked_id(answer)


def test_an_explanation_by_another_version_is_not_shown(page: httpx.Client, before: Recorder) -> None:
    other = {"model_version": "canary-9", "explanations": [{"contributions": []}]}
    before.replaced = {":explain": json.dumps(other)}
    text = text_of(page.get("/forecast", params=ROW))
    assert "Another version of the model would explain it." in text and "canary-9" not in text


def test_what_the_endpoint_refuses_is_said_at_the_field(page: httpx.Client) -> None:
    answer = page.get("/forecast", params={**ROW, "price": "99"})
    assert answer.status_code == 422
    assert re.search(
        r'id="field-price"[^>]*aria-describedby="hint-price error-price"[^>]*aria-invalid', answer.text
    )
    assert "It must be a number from 0.5 up to 20 or null; found 99" in text_of(answer)
    assert 'value="99"' in answer.text and "autofocus" in answer.text
    nothing = page.get("/forecast", params={**ROW, "visitors": "many"})
    assert "It must be a whole number from 0; found 'many'." in text_of(nothing)
    absent = page.get("/forecast", params={name: text for name, text in ROW.items() if name != "day"})
    assert "found no such field in the row" in text_of(absent)


def test_empty_fields_are_null_and_a_box_without_a_tick_is_no(page: httpx.Client, before: Recorder) -> None:
    given = {name: text for name, text in ROW.items() if name != "promoted"} | {"price": "", "weather": ""}
    assert page.get("/forecast", params=given).status_code == 200
    row = before.rows()[0]
    assert row["promoted"] is False and row["price"] is None and row["weather"] is None


def test_a_value_that_the_model_does_not_know_is_told(page: httpx.Client) -> None:
    text = text_of(page.get("/forecast", params={**ROW, "store": "moon"}))
    assert "the model does not know moon and takes it for a rare category" in text
    assert "There is no history of these values." in text


def test_text_from_outside_is_shown_and_not_obeyed(page: httpx.Client) -> None:
    answer = page.get("/forecast", params={**ROW, "store": "<script>x</script>\"'"})
    assert "<script>x" not in answer.text and "&lt;script&gt;x" in answer.text


def test_an_endpoint_that_is_silent_is_said_in_words(tmp_path: Path) -> None:
    app = build_app(Endpoint(f"http://127.0.0.1:{free_port()}", "shop", 1.0), DecisionLog(tmp_path))
    with live(app) as page:
        answer = page.get("/")
        assert answer.status_code == 502 and "does not answer" in text_of(answer)
        assert page.get("/choices/store").json() == {"choices": []}


def test_accepting_is_written_and_shown(page: httpx.Client, tmp_path: Path) -> None:
    identity = asked_id(page.get("/forecast", params=ROW))
    answer = decide(page, id=identity, decision="accepted")

    assert answer.url.path == f"/forecasts/{identity}" and "Accepted:" in text_of(answer)
    line = logged(tmp_path)[0]
    assert line["id"] == identity and line["decision"] == "accepted"
    assert line["value"] == line["output"]["prediction"] and line["output"]["interval"]["level"] == 0.9
    assert line["inputs"]["store"] == "north" and line["variant"] == "stable" and line["version"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


def test_overriding_keeps_the_number_and_the_reason(page: httpx.Client, tmp_path: Path) -> None:
    identity = asked_id(page.get("/forecast", params=ROW))
    answer = decide(page, id=identity, decision="overridden", value="41,5", reason="a fair <b>next</b> door")
    line = logged(tmp_path)[0]
    assert (line["decision"], line["value"], line["reason"]) == (
        "overridden",
        41.5,
        "a fair <b>next</b> door",
    )
    assert "Overridden: 41.5 in place of" in text_of(answer) and "<b>next" not in answer.text


def test_a_form_that_is_sent_twice_counts_once(page: httpx.Client, tmp_path: Path) -> None:
    identity = asked_id(page.get("/forecast", params=ROW))
    for _ in range(3):
        assert decide(page, id=identity, decision="overridden", value="5").status_code == 200
    assert len(logged(tmp_path)) == 1
    other = decide(page, id=identity, decision="accepted")
    assert other.status_code == 409 and "Overridden: 5" in text_of(other)
    assert len(logged(tmp_path)) == 1


@pytest.mark.parametrize("value", ["", "-1", "nan", "1e999", "many", "0x10"])
def test_a_number_that_cannot_be_is_refused_at_its_field(
    page: httpx.Client, tmp_path: Path, value: str
) -> None:
    identity = asked_id(page.get("/forecast", params=ROW))
    answer = decide(page, id=identity, decision="overridden", value=value)
    assert answer.status_code == 422 and "It must be a number from 0; found" in text_of(answer)
    assert 'aria-describedby="override-error"' in answer.text
    assert logged(tmp_path) == []


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
def test_a_decision_from_elsewhere_is_refused(
    page: httpx.Client, tmp_path: Path, headers: dict[str, str]
) -> None:
    identity = asked_id(page.get("/forecast", params=ROW))
    fields = {"id": identity, "decision": "accepted"}
    assert page.post("/decisions", data=fields, headers=headers).status_code == 403
    assert logged(tmp_path) == []
    assert page.post("/decisions", data=fields, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_a_forecast_that_nobody_made_cannot_be_decided(page: httpx.Client, tmp_path: Path) -> None:
    assert decide(page, id="made-up", decision="accepted").status_code == 404
    assert decide(page, id="made-up", decision="perhaps").status_code == 400
    assert page.get("/forecasts/made-up").status_code == 404
    assert page.post("/decisions", content=b"x" * 30_000, headers={"Origin": origin(page)}).is_error
    assert logged(tmp_path) == []


def test_without_a_folder_nothing_can_be_decided(before: Recorder) -> None:
    with live(build_app(Endpoint(before.url, "shop"))) as page:
        answer = page.get("/forecast", params=ROW)
        assert "Decisions are not recorded here" in text_of(answer) and "<form" in answer.text
        assert 'action="/decisions"' not in answer.text


def test_every_answer_has_a_strict_policy_and_no_address_outside(page: httpx.Client) -> None:
    for path in ("/", "/page.css", "/page.js", "/forecasts/x", "/choices/store", "/nothing"):
        answer = page.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"https?://", answer.text), path
    assert "style=" not in page.get("/forecast", params=ROW).text


def test_a_name_that_is_not_the_pages_is_refused(page: httpx.Client, before: Recorder) -> None:
    assert page.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert page.get("/", headers={"Host": "127.0.0.1:8090"}).status_code == 200
    with live(build_app(Endpoint(before.url, "shop"), None, ["shop.example"])) as other:
        assert other.get("/", headers={"Host": "Shop.example:80"}).status_code == 200


def test_a_problem_without_time_has_a_page_too(people_server: Running) -> None:
    with live(build_app(Endpoint(people_server.url, "people"))) as page:
        start = page.get("/").text
        assert '<select id="field-plan"' in start and "Forecast of probability that stays is yes" in start
        text = text_of(page.get("/forecast", params={"age": "40", "plan": "plus"}))
        assert "They multiply the odds" in text and "This model keeps no history of its target." in text
