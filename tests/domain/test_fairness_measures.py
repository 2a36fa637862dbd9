"""Measures of decisions equal their published formulas on a table worked by hand."""

from math import log

import numpy as np
import pytest

from cd4ml.domain.fairness.aggregate import (
    equalized_odds_difference,
    equalized_odds_ratio,
    group_difference,
    group_ratio,
)
from cd4ml.domain.fairness.catalogue import find
from cd4ml.domain.fairness.flips import flip_test
from cd4ml.errors import DataError, UsageError
from tests.domain.fairness_samples import confusion, contrast, sample, values

# The slice has 10 rows, the others 20.
TABLE, GROUPS = confusion((4, 1, 2, 3), (3, 1, 3, 13))

# name, value of the slice, value of the others, what is judged
WORKED = [
    ("selection_rate", 5 / 10, 4 / 20, 2.5),
    ("selection_rate_difference", 5 / 10, 4 / 20, 0.3),
    ("true_positive_rate", 4 / 6, 3 / 6, 1 / 6),
    ("true_negative_rate", 3 / 4, 13 / 14, -5 / 28),
    ("false_positive_rate", 1 / 4, 1 / 14, 5 / 28),
    ("false_negative_rate", 2 / 6, 3 / 6, -1 / 6),
    ("precision", 4 / 5, 3 / 4, 0.05),
    ("negative_predictive_value", 3 / 5, 13 / 16, -0.2125),
    ("false_discovery_rate", 1 / 5, 1 / 4, -0.05),
    ("false_omission_rate", 2 / 5, 3 / 16, 0.2125),
    ("accuracy", 7 / 10, 16 / 20, -0.1),
    ("error_rate", 3 / 10, 4 / 20, 1.5),
    ("balanced_accuracy", 17 / 24, 5 / 7, -1 / 168),
    ("f1", 8 / 11, 6 / 10, 7 / 55),
    ("conditional_acceptance", 6 / 5, 6 / 4, -0.3),
    ("conditional_rejection", 4 / 5, 14 / 16, -0.075),
    ("treatment_equality", 2 / 1, 3 / 1, -1.0),
    # Benefits: 1 x 2, 2 x 0 and 7 x 1 in the slice; 1 x 2, 3 x 0 and 16 x 1 in the others.
    ("generalized_entropy", 29 / 162, 19 / 162, 10 / 162),
    ("theil_index", 2 * log(2) / 9 - log(0.9), 2 * log(2) / 18 - log(0.9), log(2) / 9),
    # Decisions stand in for scores.
    ("mean_score", 5 / 10, 4 / 20, 0.3),
    ("calibration_in_the_large", -0.1, -0.1, 0.0),
    ("brier", 3 / 10, 4 / 20, 1.5),
]
PAIRS = [
    ("equalized_odds", 5 / 28),
    ("average_odds", (1 / 6 + 5 / 28) / 2),
    ("predicted_positive_share", 5 / 9),
    ("demographic_disparity", 5 / 21 - 5 / 9),
]


@pytest.mark.parametrize(("name", "own", "other", "judged"), WORKED)
def test_a_rate_equals_its_formula_worked_by_hand(name, own, other, judged):
    assert values(name, TABLE, GROUPS) == pytest.approx([own, other])
    assert contrast(name, TABLE, GROUPS) == pytest.approx(judged)


@pytest.mark.parametrize(("name", "judged"), PAIRS)
def test_a_contrast_of_two_groups_equals_its_formula_worked_by_hand(name, judged):
    assert contrast(name, TABLE, GROUPS) == pytest.approx(judged)


def test_the_gap_of_odds_is_that_of_the_worse_rate_whichever_it_is():
    rows, codes = confusion((4, 1, 1, 4), (2, 1, 3, 4))
    assert contrast("equalized_odds", rows, codes) == pytest.approx(4 / 5 - 2 / 5)
    assert contrast("average_odds", rows, codes) == pytest.approx((4 / 5 - 2 / 5) / 2)


def test_log_loss_is_the_ratio_of_the_mean_negative_log_likelihoods():
    rows = sample([1, 0, 1, 0], [0.5, 0.5, 0.25, 0.75], [1, 1, 0, 1])
    assert contrast("log_loss", rows, np.array([0, 0, 1, 1])) == pytest.approx(log(2) / log(4))


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("true_positive_rate", (0, 3, 0, 2)),
        ("true_negative_rate", (3, 0, 2, 0)),
        ("precision", (0, 0, 4, 4)),
        ("false_omission_rate", (4, 4, 0, 0)),
        ("treatment_equality", (1, 0, 4, 4)),
        ("theil_index", (0, 0, 4, 0)),
        ("selection_rate", (0, 0, 0, 0)),
    ],
)
def test_a_rate_without_a_denominator_is_undefined_and_not_zero(name, counts):
    rows, codes = confusion(counts, (3, 1, 3, 13))
    own, other = values(name, rows, codes)
    assert np.isnan(own) and np.isfinite(other)
    assert np.isnan(contrast(name, rows, codes))


def test_a_rate_of_zero_is_a_ratio_of_zero_and_against_zero_undefined():
    rows, codes = confusion((0, 0, 2, 8), (3, 1, 3, 13))
    assert contrast("selection_rate", rows, codes) == 0.0
    assert np.isnan(contrast("selection_rate", rows, 1 - codes))


def test_disparity_within_strata_leaves_out_a_stratum_that_is_decided_alike():
    # accepted and rejected of the slice and the others: stratum 0 (2, 1) and (1, 3); stratum 1 (1, 1) and
    # (0, 1) ; stratum 2 all rejected.
    cells = [(0, 1, 0, 2), (0, 0, 0, 1), (1, 1, 0, 1), (1, 0, 0, 3)]
    cells += [(0, 1, 1, 1), (0, 0, 1, 1), (1, 0, 1, 1), (0, 0, 2, 2), (1, 0, 2, 5)]
    table = np.array([cell[:3] for cell in cells for _ in range(cell[3])])
    codes, called, strata = table.T
    rows = sample(called, called, called, strata=strata)
    first, second = 1 / 4 - 2 / 3, 1 / 2 - 1 / 1
    worked = (7 * first + 3 * second) / 10
    assert contrast("CDDPL", rows, codes) == pytest.approx(worked)
    assert contrast("CDDL", rows, codes) == pytest.approx(worked)


def test_disparity_without_any_mixed_stratum_is_undefined():
    rows = sample([1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], strata=[0, 0, 1, 1])
    assert np.isnan(contrast("CDDPL", rows, np.array([0, 1, 0, 1])))


def test_extremes_of_groups_and_distance_from_the_overall_value():
    rates = np.array([0.2, 0.5, np.nan, 0.4])
    assert group_difference(rates) == pytest.approx(0.3)
    assert group_ratio(rates) == pytest.approx(0.4)
    assert group_difference(rates, 0.4) == pytest.approx(0.2)
    assert group_ratio(rates, 0.4) == pytest.approx(0.5)
    assert group_ratio([0.5, 0.4], 0.4) == pytest.approx(0.8)
    assert np.isnan(group_difference([np.nan, np.nan])) and np.isnan(group_ratio([np.nan]))
    assert np.isnan(group_difference([np.nan], 0.4)) and np.isnan(group_ratio([np.nan], 0.4))
    assert group_ratio(np.array([[0.2, 0.4], [0.3, 0.3]])) == pytest.approx([0.5, 1.0])
    some = np.array([[np.nan, 0.4, 0.1], [np.nan, np.nan, np.nan]])
    assert group_difference(some) == pytest.approx([0.3, np.nan], nan_ok=True)


def test_equalized_odds_over_groups_takes_the_worse_rate_or_the_mean():
    hits, misses = [0.6, 0.9], [0.1, 0.2]
    assert equalized_odds_difference(hits, misses) == pytest.approx(0.3)
    assert equalized_odds_difference(hits, misses, "mean") == pytest.approx(0.2)
    assert equalized_odds_ratio(hits, misses) == pytest.approx(0.5)
    assert equalized_odds_ratio(hits, misses, "mean") == pytest.approx((2 / 3 + 0.5) / 2)


def test_flips_are_counted_against_the_nearest_others():
    features = np.array([[0.0], [10.0], [20.0], [0.1], [10.1], [19.9]])
    decision = np.array([0, 1, 1, 1, 0, 1])
    inside = np.array([True, True, True, False, False, False])
    found = flip_test(features, decision, inside)  # so few others: the nearest one decides
    assert (found.rows, found.to_positive, found.to_negative) == (3, 1, 1)
    assert found.net == 0.0
    assert found.flipped == pytest.approx(2 / 3)


def test_flips_vote_over_five_neighbours_and_no_unit_outweighs_another():
    rng = np.random.default_rng(4)
    metres = rng.integers(0, 2, 400)
    features = np.c_[metres * 1.0, rng.normal(0, 1e6, 400)]
    inside = np.arange(400) < 200
    decision = np.where(inside, 0, metres)
    found = flip_test(features, decision, inside)
    assert found.to_negative == 0
    assert found.to_positive == metres[:200].sum()
    assert found.net == found.to_positive / 200


def test_missing_features_count_as_the_mean_and_constant_ones_for_nothing():
    # The mean of the known is 20: the row that is called stands nearest.
    features = np.array([[np.nan, 7.0], [0.0, 7.0], [41.0, 7.0], [19.0, 7.0]])
    found = flip_test(features, [0, 0, 0, 1], np.array([True, False, False, False]), neighbours=1)
    assert found.to_positive == 1


@pytest.mark.parametrize(("others", "flips"), [(9, 1), (10, 0)])
def test_from_ten_others_on_five_neighbours_vote(others, flips):
    features = np.arange(others + 1.0)[:, None]
    decision = np.arange(others + 1) == 1  # the nearest alone is called
    assert flip_test(features, decision, np.arange(others + 1) == 0).to_positive == flips


def test_a_flip_test_refuses_an_even_vote_and_an_empty_side():
    features, called = np.zeros((4, 1)), np.array([0, 1, 0, 1])
    with pytest.raises(UsageError, match="must be odd"):
        flip_test(features, called, np.array([True, False, False, False]), neighbours=4)
    with pytest.raises(DataError, match="found 4 and 0"):
        flip_test(features, called, np.ones(4, dtype=bool))


def test_clarifys_and_aequitas_names_find_the_measures():
    assert find("DPPL").name == "selection_rate_difference"
    assert find("di").name == "selection_rate"
    assert find("for").name == "false_omission_rate"
