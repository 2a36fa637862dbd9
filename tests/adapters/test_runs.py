"""Records of runs on a folder and on S3."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from cd4ml.adapters.runs import RunStore, new_run_id
from cd4ml.adapters.storage import Storage
from cd4ml.errors import IntegrityError, MetricError, NotFoundError, UsageError


def run(number: int, **other: Any) -> dict[str, Any]:
    wape = {"estimate": number / 10, "low": number / 10 - 0.01, "high": number / 10 + 0.01}
    record = {
        "id": f"2026010{number}T120000Z-aaaa000{number}",
        "problem": "shop",
        "started": f"2026-01-0{number}T12:00:00+00:00",
        "seconds": float(number),
        "decision": "accept",
        "metrics": {"wape": wape},
        "git": {"commit": str(number) * 40, "branch": "main"},
    }
    return record | other


@pytest.fixture
def store(storage: Storage) -> RunStore:
    found = RunStore(storage)
    found.save(run(2))
    found.save(run(1))
    found.save(run(3, git={"commit": "3" * 40, "branch": "trial"}, decision="reject"))
    found.save(run(4, problem="bike", metrics={"holdout": {"r2": 0.8}}))
    return found


def numbers(runs: list[dict[str, Any]]) -> list[int]:
    return [int(found["seconds"]) for found in runs]


def test_an_id_sorts_by_time_and_is_new() -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    first, second = new_run_id(noon), new_run_id(noon)
    assert re.fullmatch(r"20260131T120000Z-[0-9a-f]{8}", first)
    assert first != second


def test_runs_are_listed_newest_first_by_problem_and_branch(store: RunStore) -> None:
    assert numbers(store.list()) == [4, 3, 2, 1]
    assert numbers(store.list("shop")) == [3, 2, 1]
    assert numbers(store.list("shop", "main")) == [2, 1]
    assert numbers(store.list(limit=1)) == [4]
    assert store.list("none") == []


def test_a_record_that_lacks_nearly_everything_is_listed_last(store: RunStore) -> None:
    store.save({"id": "bare", "git": None})
    assert store.list()[-1] == {"id": "bare", "git": None}
    assert store.list(branch="main")[-1]["id"] != "bare"


def test_a_run_is_found_by_its_id_its_beginning_or_as_the_latest(store: RunStore) -> None:
    assert store.get()["seconds"] == 4
    assert store.get("20260102")["seconds"] == 2
    assert store.get("20260102T120000Z-aaaa0002")["seconds"] == 2
    store.save(run(2, id="20260102"))
    assert store.get("20260102")["id"] == "20260102", "a whole id goes before the beginning of one"


def test_saving_again_replaces(store: RunStore) -> None:
    store.save(run(2, decision="needs_approval"))
    assert len(store.list()) == 4
    assert store.get("20260102")["decision"] == "needs_approval"


def test_a_beginning_of_several_or_of_none_is_told(store: RunStore) -> None:
    with pytest.raises(UsageError, match="the start of 4 runs, such as 20260101"):
        store.get("2026")
    with pytest.raises(NotFoundError, match="no run '20260102T120000Z-aaaa0009' among 4; did you mean"):
        store.get("20260102T120000Z-aaaa0009")
    with pytest.raises(NotFoundError, match="no run ''"):
        store.get("")


def test_an_empty_store_says_what_to_do(storage: Storage) -> None:
    with pytest.raises(NotFoundError, match="'cd4ml run PROBLEM'"):
        RunStore(storage).get()
    assert RunStore(storage).list() == []


@pytest.mark.parametrize("identity", ["", "latest", "a/b", "../x", "x" * 129])
def test_an_id_that_is_none_is_refused(storage: Storage, identity: str) -> None:
    with pytest.raises(UsageError, match="a run's id must be"):
        RunStore(storage).save({"id": identity})
    assert storage.list("") == []


def test_a_number_that_is_not_finite_is_refused(storage: Storage) -> None:
    with pytest.raises(MetricError, match="NaN"):
        RunStore(storage).save(run(1, metrics={"wape": float("nan")}))
    assert storage.list("") == []


def test_a_damaged_record_is_named(store: RunStore) -> None:
    store.storage.put("runs/broken.json", b"{")
    with pytest.raises(IntegrityError, match=r"runs/broken\.json"):
        store.list()


def test_comparing_leaves_out_what_always_differs(store: RunStore) -> None:
    found = {row.name: row.values for row in store.compare(["20260102", "20260103", "20260101"])}
    assert found["decision"] == ("accept", "reject", "accept")
    assert found["git.branch"] == ("main", "trial", "main")
    assert found["metrics.wape.estimate"] == (0.2, 0.3, 0.1)
    assert not {"id", "started", "seconds", "problem"} & found.keys()
    with pytest.raises(UsageError, match="takes two runs or more; got 1"):
        store.compare(["latest"])


def test_a_trend_goes_from_the_oldest_and_knows_intervals_and_commits(store: RunStore) -> None:
    points = store.trend("wape", "shop")
    assert [point.estimate for point in points] == [0.1, 0.2, 0.3]
    assert [point.branch for point in points] == ["main", "main", "trial"]
    assert points[0].low == pytest.approx(0.09)
    assert [point.estimate for point in store.trend("wape", "shop", "main")] == [0.1, 0.2]
    (bare,) = store.trend("r2", "bike")
    assert (bare.estimate, bare.low, bare.high, bare.commit) == (0.8, None, None, "4" * 40)


def test_a_trend_leaves_out_runs_without_the_metric(store: RunStore) -> None:
    store.save(run(5, metrics="none"))
    store.save(run(6, metrics={"holdout": None}))
    store.save(run(7, metrics={"wape": {"estimate": None}}))
    assert len(store.trend("wape", "shop")) == 3


def test_a_trend_of_nothing_suggests_the_nearest(store: RunStore) -> None:
    with pytest.raises(NotFoundError, match="has the metric 'wap'; they have wape; did you mean 'wape'"):
        store.trend("wap", "shop")
    with pytest.raises(NotFoundError, match=r"no runs of 'shp'.*did you mean 'shop'"):
        store.trend("wape", "shp")
    with pytest.raises(NotFoundError, match="no runs of 'shop' on the branch 'other'"):
        store.trend("wape", "shop", "other")
    store.save(run(8, problem="bare", metrics={}))
    with pytest.raises(NotFoundError, match="they have none at all"):
        store.trend("wape", "bare")
