"""What the slice explorer carries: every row in few bytes, under a policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.features.columns import CategoryArray
from cd4ml.reports.explorer_data import LEVELS, MOST_CATEGORIES, Judged, explorer_data
from cd4ml.reports.slice_explorer import slice_explorer_page
from tests.reports.explorer_samples import HOSTILE, classification_rows, problem_of, regression_rows

KINDS = {"u1": "<u1", "u2": "<u2", "u4": "<u4", "f4": "<f4"}


def unpacked(packed: dict[str, str]) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(packed["data"]), dtype=KINDS[packed["kind"]])


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found.group(1))


def one(column: Any, rows: int = 0) -> dict[str, Any]:
    n = rows or len(column)
    judged = Judged(np.zeros(n), {"model": np.zeros(n)}, {"c": column})
    return explorer_data(judged, binary=False, essential=1)["columns"][0]


def test_the_policy_allows_this_script_and_style_alone() -> None:
    page = slice_explorer_page(problem_of("regression"), regression_rows())
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None and policy.group(1).startswith("default-src 'none'; ")
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        inner = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.S)
        assert len(inner) == 1
        digest = base64.b64encode(hashlib.sha256(inner[0].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy.group(1)
    assert "unsafe" not in policy.group(1)
    assert not re.search(r'\b(src|href)="(?!#)', page)
    assert not re.search(r'\bon[a-z]+="|style="', page)


def test_hostile_texts_cannot_end_the_data() -> None:
    page = slice_explorer_page(problem_of("regression"), regression_rows())
    assert page.count("<script") == 2
    assert HOSTILE in data_of(page)["columns"][0]["labels"]
    assert "&lt;/script&gt;" in page


def test_the_same_rows_give_the_same_bytes() -> None:
    first, second = (slice_explorer_page(problem_of("regression"), regression_rows()) for _ in range(2))
    assert first == second


def test_the_problems_metrics_come_first_and_the_primary_is_chosen() -> None:
    page = slice_explorer_page(problem_of("regression"), regression_rows())
    names = [one["name"] for one in data_of(page)["metrics"]]
    assert names[:3] == ["wape", "nwrmsle", "bias"] and "pinball" not in names
    assert "rmse" in names and names[-2:] == ["mean_actual", "mean_predicted"]
    assert "selection_rate" in [
        one["name"]
        for one in data_of(slice_explorer_page(problem_of("classification"), classification_rows()))[
            "metrics"
        ]
    ]


def test_columns_that_matter_come_first_and_unknown_names_are_passed_over() -> None:
    page = slice_explorer_page(
        problem_of("classification"), classification_rows(), first=["race", "x", "sex"]
    )
    assert [one["name"] for one in data_of(page)["columns"]] == ["race", "sex", "age"]


def test_all_rows_are_there_when_they_fit() -> None:
    judged = regression_rows()
    made = explorer_data(judged, binary=False, essential=1)
    assert made["rows"] == made["of"] == len(judged.actual) and made["clusters"] == 60
    assert unpacked(made["actual"]) == pytest.approx(judged.actual)
    assert unpacked(made["weight"]) == pytest.approx(judged.weight)
    names = [one["name"] for one in made["predictions"]]
    assert names == ["model", "last_week"] and "called" not in made["predictions"][0]
    values = unpacked(made["predictions"][1]["values"])
    assert values == pytest.approx(judged.predictions["last_week"], rel=1e-6)
    cluster = unpacked(made["cluster"])
    assert judged.cluster is not None and (cluster + 100 == judged.cluster).all()


def test_weights_of_one_and_clusters_of_one_row_take_no_bytes() -> None:
    made = explorer_data(classification_rows(), binary=True, essential=1)
    assert made["weight"] is None and made["cluster"] is None and made["clusters"] == made["rows"]
    assert (
        unpacked(made["predictions"][0]["called"]) == (classification_rows().predictions["model"] >= 0.5)
    ).all()


def test_decisions_of_the_model_stand_for_the_common_threshold() -> None:
    judged = classification_rows(500)
    own = np.arange(500) % 2
    found = Judged(judged.actual, judged.predictions, judged.columns, decisions={"model": own})
    made = explorer_data(found, binary=True, essential=1)
    assert (unpacked(made["predictions"][0]["called"]) == own).all()


@pytest.mark.parametrize("limit", [20_000, 60_000])
def test_too_many_rows_are_sampled_within_the_limit_and_the_page_says_so(limit: int) -> None:
    judged = classification_rows(20_000)
    page = slice_explorer_page(problem_of("classification"), judged, first=["sex"], max_bytes=limit)
    data = data_of(page)
    assert len(page) < limit + 80_000 and data["rows"] < data["of"] == 20_000
    assert data["rows"] > 0.5 * limit / (6 * 4 / 3 + 4 / 3)
    assert f"A random sample of {data['rows']:,} of the 20,000 rows" in page
    assert [one["name"] for one in data["columns"]] == ["sex"]
    rate = unpacked(data["actual"]).mean()
    assert rate == pytest.approx(judged.actual.mean(), abs=0.05)
    again = explorer_data(judged, binary=True, essential=1, max_bytes=limit, seed=0)
    other = explorer_data(judged, binary=True, essential=1, max_bytes=limit, seed=1)
    assert again["actual"]["data"] != other["actual"]["data"]


def test_further_columns_and_predictions_are_left_out_when_there_is_no_room() -> None:
    judged = classification_rows(3000)
    whole = explorer_data(judged, binary=True, essential=1)
    tight = explorer_data(judged, binary=True, essential=1, max_bytes=len(json.dumps(whole)) - 3000)
    assert tight["rows"] == 3000
    assert len(tight["columns"]) + len(tight["predictions"]) < len(whole["columns"]) + len(
        whole["predictions"]
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(["b", "a", "ü", "</script>", None]), min_size=1, max_size=30))
def test_texts_come_back_as_they_were(values: list[str | None]) -> None:
    categories = ("a", "b", "</script>", "never", "ü")
    codes = np.array([-1 if v is None else categories.index(v) for v in values], dtype=np.int32)
    made = one(CategoryArray(codes, categories))
    labels = [*made["labels"], None]
    assert [labels[code] for code in unpacked(made["codes"])] == values
    assert made["labels"] == sorted(set(values) - {None})  # type: ignore[type-var]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.one_of(st.floats(-1e6, 1e6, width=32), st.just(float("nan"))), min_size=1, max_size=40))
def test_few_numbers_come_back_as_they_were(values: list[float]) -> None:
    made = one(np.array(values))
    levels = np.array([*made["lows"], np.nan])
    assert made["lows"] == made["highs"]
    assert levels[unpacked(made["codes"])] == pytest.approx(np.array(values), rel=1e-8, nan_ok=True)


def test_many_numbers_lie_within_the_ends_of_their_level_and_levels_are_even() -> None:
    values = np.random.Generator(np.random.PCG64(5)).lognormal(0, 2, 20_000)
    values[:50] = np.nan
    made = one(values)
    codes = unpacked(made["codes"])
    assert 200 < len(made["lows"]) <= LEVELS and made["codes"]["kind"] == "u2"
    lows, highs = np.array([*made["lows"], np.nan]), np.array([*made["highs"], np.nan])
    known = ~np.isnan(values)
    assert (codes[~known] == len(made["lows"])).all()
    inside = (values >= lows[codes] * (1 - 1e-8)) & (values <= highs[codes] * (1 + 1e-8))
    assert inside[known].all()
    assert (np.diff(made["lows"]) > 0).all() and (lows[1:-1] > highs[:-2]).all()
    sizes = np.bincount(codes[known])
    assert sizes.max() < 2 * sizes.min()


def test_times_are_seconds_and_a_missing_one_is_null() -> None:
    made = one(np.array(["2026-01-02", "NaT", "1970-01-01"], dtype="datetime64[s]"))
    assert made["type"] == "time" and made["lows"] == [0, 1767312000]
    assert unpacked(made["codes"]).tolist() == [1, 2, 0]


def test_the_rarest_of_very_many_texts_are_one_slice() -> None:
    rows = MOST_CATEGORIES + 500
    codes = np.r_[np.arange(rows), np.arange(MOST_CATEGORIES)].astype(np.int32)
    column = CategoryArray(codes, tuple(f"v{n:05d}" for n in range(rows)))
    made = one(column)
    assert len(made["labels"]) == MOST_CATEGORIES + 1 and made["labels"][-1] == "500 rarer values"
    assert np.bincount(unpacked(made["codes"]))[-1] == 500
    n = len(codes)
    extra = Judged(
        np.zeros(n), {"model": np.zeros(n)}, {"a": np.arange(n) % 3, "many": column, "flat": np.ones(n)}
    )
    kept = explorer_data(extra, binary=False, essential=1)["columns"]
    assert [one["name"] for one in kept] == ["a"]
