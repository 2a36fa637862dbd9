"""The gate on proxies fails closed, and passes only what is surely within its limit."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cd4ml.domain.bootstrap import Interval
from cd4ml.domain.proxies import Proxy, proxy_gates, proxy_weight, weighted

FOUND = Proxy(
    "sex", "roc_auc", Interval(0.9, 0.88, 0.92), 0.5, (("relationship", 0.8), ("job", 0.2)), (), 900
)


def gate(proxy, limit=0.6):
    (found,) = proxy_gates([] if proxy is None else [proxy], {"sex": limit})
    return found


def test_one_proxy_weighs_as_much_as_it_matters_to_the_model():
    assert proxy_weight([1, 0, 0], [0.5, 1.0, 0.2]) == pytest.approx(0.5)
    assert proxy_weight([0, 1, 0], [0.5, 1.0, 0.2]) == 1
    assert proxy_weight([0, 0, 1], [0.5, 1.0, 0.0]) == 0


def test_a_column_does_not_pass_for_being_spread_over_many_features():
    assert proxy_weight([0.1] * 10 + [0], [0.08] * 10 + [1.0]) == pytest.approx(0.8)
    assert proxy_weight([0.1] * 10 + [0], [0.3] * 10 + [1.0]) == 1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
def test_a_weight_is_a_share(pairs):
    shares, importance = zip(*pairs, strict=True)
    assert 0 <= proxy_weight(shares, importance) <= 1


def test_weighting_draws_towards_chance_and_never_below():
    assert weighted("roc_auc", Interval(0.9, 0.88, 0.92), 0.5) == Interval(0.7, 0.69, 0.71)
    assert weighted("roc_auc", Interval(0.45, 0.4, 0.6), 1.0) == Interval(0.5, 0.5, 0.6)
    assert weighted("r2", Interval(0.4, None, None), 0.5) == Interval(0.2, None, None)
    assert weighted("r2", Interval(-0.1, -0.2, 0.1), 0.0) == Interval(0, 0, 0)


def test_the_three_states_follow_the_interval_of_the_weighted_measure():
    assert [gate(FOUND, limit).status for limit in (0.68, 0.7, 0.72)] == ["fail", "warn", "pass"]
    failed = gate(FOUND, 0.68)
    assert (failed.name, failed.axis, failed.measured, failed.limit) == ("proxy:sex", "model", 0.7, 0.68)
    assert failed.interval == pytest.approx((0.69, 0.71))
    for said in (
        "sex",
        "ROC AUC 0.900 (0.880 to 0.920)",
        "relationship, job",
        "0.50",
        "0.700 (0.690",
        "0.68",
    ):
        assert said in failed.reason
    assert gate(FOUND, 0.71).status == "pass"  # the limit itself is allowed


def test_a_column_that_is_a_feature_fails_whatever_its_weight():
    found = gate(replace(FOUND, direct=("sex_frequency",), weight=0.0))
    assert found.status == "fail" and "sex_frequency" in found.reason and "remove it" in found.reason


def test_what_was_not_looked_at_fails_and_what_could_not_be_found_out_warns():
    assert gate(None).status == "fail"
    unknown = gate(
        replace(FOUND, found=None, reason="it has values in 12 rows of the sample; 100 are needed")
    )
    assert unknown.status == "warn" and "12 rows" in unknown.reason
    wide = gate(replace(FOUND, found=Interval(0.51)), 0.9)
    assert wide.status == "warn" and wide.interval is None


def test_gates_stand_in_the_order_of_columns_and_only_for_limits():
    other = replace(FOUND, column="age", measure="r2")
    found = proxy_gates([FOUND, other], {"sex": 0.9, "age": 0.9})
    assert [one.name for one in found] == ["proxy:age", "proxy:sex"]
    assert proxy_gates([FOUND], {}) == []


def test_a_proxy_survives_its_journey_through_json():
    assert Proxy.from_dict(FOUND.to_dict()) == FOUND
    empty = Proxy("x", "r2", None, 0.0, (), ("x",), 3, "why")
    assert Proxy.from_dict(empty.to_dict()) == empty
    assert FOUND.to_dict()["weighted"]["estimate"] == pytest.approx(0.7)
