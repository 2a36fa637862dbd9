"""Why a served prediction is what it is: `:explain`, and the values that can be chosen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cd4ml.adapters.manifest import MANIFEST, read_manifest, write_manifest
from cd4ml.models.runtime import Bundle, holdout_rows
from cd4ml.serving.choices import Choices
from cd4ml.serving.explain import MOST_ROWS
from cd4ml.serving.explanation import Explainer
from tests.models import bundles
from tests.models.bundles import bundle, copy
from tests.serving.model_server import Running, running

SHOP_ROW = {
    "day": "2020-06-09",
    "store": "north",
    "promoted": True,
    "price": 4.0,
    "weather": "sun",
    "visitors": 30,
    "opened": "2020-06-09T08:00:00",
}
PERSON = {"age": 40, "plan": "plus", "note": None}


def explain(server: Running, rows: list[Any]) -> Any:
    return server.post(f"/v1/models/{server.name}:explain", json={"instances": rows})


def explained(server: Running, row: dict[str, Any]) -> dict[str, Any]:
    answer = explain(server, [row])
    assert answer.status_code == 200, answer.text
    return answer.json()["explanations"][0]


def test_the_answer_has_the_predictions_of_predict(shop_server: Running) -> None:
    rows = holdout_rows(bundle("shop"))[:MOST_ROWS]
    found, plain = explain(shop_server, rows).json(), shop_server.v1(rows).json()
    for name in ("predictions", "quantiles", "model_name", "model_version"):
        assert found[name] == plain[name]
    assert [one["prediction"] for one in found["explanations"]] == plain["predictions"]
    assert found["bundle"] == Bundle.load(bundle("shop")).id


def test_contributions_add_up_to_the_prediction_on_their_scale(shop_server: Running) -> None:
    rows = holdout_rows(bundle("shop"))[:MOST_ROWS]
    answer = explain(shop_server, rows).json()
    assert answer["scale"] == "log(1 + value)"
    for one in answer["explanations"]:
        raw = one["base"] + sum(part["contribution"] for part in one["contributions"])
        assert raw == pytest.approx(one["raw"], abs=1e-9)
        assert max(0.0, np.expm1(raw)) == pytest.approx(one["prediction"], rel=1e-5, abs=1e-5)


def test_a_probability_is_explained_in_log_odds_and_has_no_interval(people_server: Running) -> None:
    found = explained(people_server, PERSON)
    raw = found["base"] + sum(part["contribution"] for part in found["contributions"])
    assert 1 / (1 + np.exp(-raw)) == pytest.approx(found["prediction"], abs=1e-5)
    assert found["interval"] is None and "probability" in found["absent"]["interval"]
    assert found["history"] is None and "history" in found["absent"]["history"]


def test_features_come_with_the_values_that_people_know(shop_server: Running) -> None:
    parts = {one["feature"]: one for one in explained(shop_server, SHOP_ROW)["contributions"]}
    assert parts["store"]["value"] == "north" and parts["weather"]["value"] == "sun"
    assert parts["price"]["value"] == 4.0 and parts["opening_hour"]["value"] == 8.0
    assert parts["day_day_of_week"]["value"] == "Tuesday"
    assert parts["units_lag_2d"]["about"] == "units 2 days before"
    assert parts["units_mean_7d"]["about"] == "mean of units over 1 week"


def test_the_interval_is_around_the_prediction_and_not_below_the_least_value(shop_server: Running) -> None:
    found = explained(shop_server, SHOP_ROW)
    assert found["interval"]["level"] == 0.9
    assert 0 <= found["interval"]["low"] < found["prediction"] < found["interval"]["high"]


def test_the_holdout_lies_in_its_intervals_as_often_as_promised() -> None:
    served = Bundle.load(bundle("shop"))
    rows, actual = holdout_rows(bundle("shop")), np.load(bundle("shop") / "holdout" / "actual.npy")
    columns = served.columns(rows)
    parts = [one["interval"] for one in Explainer(served).explain(columns, served.predict(columns))]
    inside = [part["low"] <= y <= part["high"] for part, y in zip(parts, actual, strict=True)]
    assert np.mean(inside) >= 0.9


def test_the_history_is_what_was_sold_in_the_last_eight_weeks(shop_server: Running) -> None:
    history = explained(shop_server, SHOP_ROW)["history"]
    assert history["of"] == "units" and history["step_seconds"] == 86_400
    assert history["times"][-1] == "2020-06-08" and len(history["times"]) == len(history["values"])
    held = {row["day"]: y for row, y in _held() if row["store"] == "north"}
    known = dict(zip(history["times"], history["values"], strict=True))
    assert {day: known[day] for day in held} == pytest.approx(held)


def _held() -> Iterator[tuple[dict[str, Any], float]]:
    actual = np.load(bundle("shop") / "holdout" / "actual.npy")
    yield from zip(holdout_rows(bundle("shop")), actual.tolist(), strict=True)


def test_the_history_ends_before_the_day_that_is_asked_for(shop_server: Running) -> None:
    history = explained(shop_server, {**SHOP_ROW, "day": "2020-06-01"})["history"]
    assert history["times"][-1] == "2020-05-31"


def test_a_stranger_has_no_history_and_the_answer_says_so(shop_server: Running) -> None:
    answer = explain(shop_server, [{**SHOP_ROW, "store": "moon"}]).json()
    assert answer["explanations"][0]["history"] is None
    assert "history" in answer["explanations"][0]["absent"]
    assert answer["unknown"][0]["values"] == ["moon"]


def test_bad_rows_are_refused_as_predict_refuses_them(shop_server: Running) -> None:
    for row in ({**SHOP_ROW, "price": 99}, {**SHOP_ROW, "shop": 1}, {"day": "2020-06-09"}):
        found, plain = explain(shop_server, [row]), shop_server.v1([row])
        assert found.status_code == plain.status_code == 400
        assert found.json() == plain.json()


def test_more_rows_than_an_explanation_takes_are_refused(shop_server: Running) -> None:
    answer = explain(shop_server, [SHOP_ROW] * (MOST_ROWS + 1))
    assert answer.status_code == 413 and "16 rows" in answer.json()["error"]
    unknown = shop_server.post("/v1/models/shops:explain", json={"instances": [SHOP_ROW]})
    assert unknown.status_code == 404 and "did you mean 'shop'" in unknown.json()["error"]


def test_the_id_of_the_request_comes_back(shop_server: Running) -> None:
    path = f"/v1/models/{shop_server.name}:explain"
    answer = shop_server.post(path, json={"instances": [SHOP_ROW]}, headers={"Ce-Id": "mine"})
    assert answer.headers["ce-id"] == "mine"


def test_choices_are_the_values_that_the_model_knows(shop_server: Running) -> None:
    overview = shop_server.get("/v1/models/shop/choices").json()
    assert overview["fields"] == {"store": {"count": 3}, "weather": {"count": 2}}
    assert overview["time"]["field"] == "day" and overview["time"]["history_end"] == "2020-06-08"
    assert overview["time"]["next"] == "2020-06-09" and overview["time"]["horizon_steps"] == 2

    found = shop_server.get("/v1/models/shop/choices/store?contains=TH").json()
    assert [one["value"] for one in found["choices"]] == ["north", "south"] and found["count"] == 2
    assert shop_server.get("/v1/models/shop/choices/store?limit=1").json()["count"] == 3


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/models/shop/choices/stor", 404, "did you mean 'store'"),
        ("/v1/models/shop/choices/store?limit=0", 400, "limit"),
        ("/v1/models/shop/choices/store?limit=many", 400, "limit"),
        ("/v1/models/nothing/choices", 404, "model"),
    ],
)
def test_wrong_questions_for_choices_are_refused(
    shop_server: Running, path: str, status: int, said: str
) -> None:
    answer = shop_server.get(path)
    assert answer.status_code == status and said in answer.json()["error"]


def test_those_that_begin_with_a_text_come_before_those_that_contain_it() -> None:
    choices = Choices(Bundle.load(bundle("shop")))
    assert [one.value for one in choices.find("store", "s")[0]] == ["south", "östlich"]
    assert choices.find("price")[0] == []


def without_contributions(folder: Path) -> Path:
    """Return a bundle as they were before there were contributions in them."""
    old = copy("shop", folder)
    manifest = read_manifest(old)
    (old / "contributions.npz").unlink()
    (old / MANIFEST).unlink()
    write_manifest(old, format=manifest["format"], problem=manifest["problem"])
    return old


def test_a_bundle_of_before_says_that_it_has_no_contributions(tmp_path: Path) -> None:
    with running(without_contributions(tmp_path / "old"), "shop") as server:
        found = explained(server, SHOP_ROW)
    assert found["contributions"] is None and "no file of contributions" in found["absent"]["contributions"]
    assert found["interval"] and found["history"]


def test_a_file_that_is_altered_after_the_start_is_not_believed(tmp_path: Path) -> None:
    folder = copy("shop", tmp_path / "altered")
    with running(folder, "shop") as server:
        (folder / "contributions.npz").write_bytes((bundle("people") / "contributions.npz").read_bytes())
        answer = explain(server, [SHOP_ROW])
        assert answer.status_code == 500 and "Ce-Id" in answer.json()["error"]
        assert server.v1([SHOP_ROW]).ok


def test_one_hot_columns_are_one_feature(tmp_path: Path) -> None:
    columns = bundles.sales()
    day = np.asarray(columns["day"])
    held = day >= day.max() - 27 * np.timedelta64(86400, "s")
    text = bundles.SHOP.replace("columns: [store, weather]", "columns: [store, weather], encoding: one_hot")
    bundles._case(text, columns, held, True, {"store": "store"}).write(tmp_path / "one-hot", signed=False)
    served = Bundle.load(tmp_path / "one-hot")
    rows = served.columns([SHOP_ROW])

    found = Explainer(served).explain(rows, served.predict(rows))[0]

    names = [one["feature"] for one in found["contributions"]]
    assert names.count("store") == 1 and not any("=" in name for name in names)
    assert len(served.state.names) > len(names)
    raw = found["base"] + sum(one["contribution"] for one in found["contributions"])
    assert np.expm1(raw) == pytest.approx(float(served.predict(rows)[0]), rel=1e-5)
