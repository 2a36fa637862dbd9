"""Measures of data before training equal the published formulas on tables worked by hand."""

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from cd4ml.domain.fairness.catalogue import find
from tests.domain.fairness_samples import contrast, sample, values

NAN = float("nan")
# The slice: 3 positive and 1 negative label. The others: 2 positive, 6 negative, 2 missing.
LABELS = sample([1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, NAN, NAN])
CODES = np.array([0] * 4 + [1] * 10)
# P_slice = (1/4, 3/4), P_others = (3/4, 1/4), their mean (1/2, 1/2).
WORKED = [
    ("CI", -6 / 14),
    ("missing_label_rate", 0.0 - 0.2),
    ("DPL", 0.5),
    ("KL", 0.5 * log(3)),
    ("JS", 0.75 * log(1.5) + 0.25 * log(0.5)),
    ("LP", 0.5 * 2**0.5),
    ("TVD", 0.5),
    ("KS", 0.5),
    # 1 of 7 rejected and 3 of 5 accepted are of the slice.
    ("DD", 1 / 7 - 3 / 5),
]
NUMBERS = sample([1.0, 2.0, 3.0, 2.0, 4.0], age=[1.0, 3.0, 2.0, 4.0, 6.0])
PARTS = np.array([0, 0, 0, 1, 1])


@pytest.mark.parametrize(("name", "worked"), WORKED)
def test_a_measure_of_labels_equals_its_formula_worked_by_hand(name, worked):
    assert contrast(name, LABELS, CODES) == pytest.approx(worked)


def test_labels_within_strata_are_averaged_by_the_rows_of_the_stratum():
    # Stratum 0: 2 accepted and 1 rejected of the slice, 1 and 3 of the others. Stratum 1: 1 and 1, 0 and 1.
    y = [1, 1, 0, 1, 0, 0, 0, 1, 0, 0]
    codes = np.array([0, 0, 0, 1, 1, 1, 1, 0, 0, 1])
    rows = sample(y, strata=[0] * 7 + [1] * 3)
    worked = (7 * (1 / 4 - 2 / 3) + 3 * (1 / 2 - 1 / 1)) / 10
    assert contrast("CDDL", rows, codes) == pytest.approx(worked)


def test_missing_labels_count_for_nothing_else():
    known = np.isfinite(LABELS.y)
    for name in ("DPL", "KL", "JS", "LP", "TVD", "KS", "DD"):
        whole = contrast(name, LABELS, CODES)
        assert whole == pytest.approx(contrast(name, LABELS.take(known), CODES[known])), name


def test_missing_targets_count_for_nothing_else():
    y = np.array([1.0, 2.0, 3.0, 2.0, 4.0, NAN, NAN])
    codes = np.array([0, 0, 0, 1, 1, 0, 1])
    for name in ("JS", "KS", "target_mean_difference", "target_wasserstein"):
        assert contrast(name, sample(y), codes) == pytest.approx(contrast(name, NUMBERS, PARTS)), name


def test_missing_targets_leave_the_means_that_are_shown():
    rows, codes = sample([1.0, 3.0, NAN, 5.0]), np.array([0, 0, 0, 1])
    assert values("target_mean_difference", rows, codes) == [2.0, 5.0]


def test_a_divergence_from_a_label_that_the_others_lack_is_undefined_and_the_other_way_is_not():
    rows, codes = sample([1, 0, 1, 1]), np.array([0, 0, 1, 1])
    assert np.isnan(contrast("KL", rows, codes))
    assert contrast("KL", rows, 1 - codes) == pytest.approx(log(2))


def test_numbers_are_compared_in_standard_deviations_within_the_groups():
    # Squares within the groups sum to 2 + 2 over 5 rows.
    assert contrast("target_mean_difference", NUMBERS, PARTS) == pytest.approx(-1 / 0.8**0.5)
    assert contrast("target_wasserstein", NUMBERS, PARTS) == pytest.approx(1 / 0.8**0.5)
    assert values("target_mean_difference", NUMBERS, PARTS) == pytest.approx([2.0, 3.0])
    assert contrast("KS", NUMBERS, PARTS) == pytest.approx(0.5)


def test_older_data_have_a_positive_recency():
    # Mean ages 2 and 5 days; squares within the groups sum to 2 + 2 over 5 rows.
    assert contrast("recency", NUMBERS, PARTS) == pytest.approx(-3 / 0.8**0.5)
    assert contrast("recency", NUMBERS, 1 - PARTS) == pytest.approx(3 / 0.8**0.5)
    assert values("recency", NUMBERS, PARTS) == pytest.approx([2.0, 5.0])


def test_representation_shows_the_rows_of_each_group():
    assert values("representation", LABELS, CODES) == [4, 10]


def test_a_difference_that_the_strata_explain_vanishes_within_them():
    rng = np.random.default_rng(1)
    strata = np.repeat([0, 1, 2], 40)
    codes = (rng.random(120) < np.array([0.2, 0.5, 0.8])[strata]).astype(int)
    y = strata * 10.0
    y[::2] += 1.0  # some spread within the strata
    y += 1 - 2 * (rng.random(120) < 0.5)
    rows = sample(y, strata=strata)
    plain = contrast("target_mean_difference", rows, codes)
    within = contrast("conditional_target_difference", rows, codes)
    assert abs(plain) > 0.8
    assert abs(within) < 0.1


def test_the_difference_within_strata_is_worked_by_hand():
    # Stratum 0: means 2 and 5 (two rows of the slice); stratum 1: 4 and 8 (one); stratum 2: no others.
    y = [1.0, 3.0, 5.0, 4.0, 8.0, 100.0]
    codes = np.array([0, 0, 1, 0, 1, 0])
    rows = sample(y, strata=[0, 0, 0, 1, 1, 2])
    own, other = np.array([1.0, 3.0, 4.0, 100.0]), np.array([5.0, 8.0])
    spread = (((own - 27) ** 2).sum() + ((other - 6.5) ** 2).sum()) / 6
    assert contrast("conditional_target_difference", rows, codes) == pytest.approx(
        (2 * -3 + 1 * -4) / 3 / spread**0.5
    )


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000))
def test_distances_of_targets_equal_scipys(seed):
    rng = np.random.default_rng(seed)
    y, codes = rng.integers(0, 12, 80) * 1.5, np.r_[0, 0, 1, 1, rng.integers(0, 2, 76)]
    a, b = y[codes == 0], y[codes == 1]
    shares = [np.bincount((part / 1.5).astype(int), minlength=12) / part.size for part in (a, b)]
    assert contrast("JS", sample(y), codes) == pytest.approx(jensenshannon(*shares) ** 2)
    assert contrast("KS", sample(y), codes) == pytest.approx(stats.ks_2samp(a, b, method="asymp").statistic)
    spread = np.sqrt((a.var() * a.size + b.var() * b.size) / y.size)
    moved = contrast("target_wasserstein", sample(y), codes)
    assert moved == pytest.approx(stats.wasserstein_distance(a, b) / spread)
    assert moved >= abs(contrast("target_mean_difference", sample(y), codes)) - 1e-12


def test_a_group_without_rows_has_no_distance():
    for name in ("KL", "LP", "TVD", "JS", "KS", "DPL"):
        assert np.isnan(contrast(name, LABELS, np.zeros(14, dtype=int))), name


def test_resamples_are_the_same_formula_over_a_leading_axis():
    rng = np.random.default_rng(5)
    weights = rng.poisson(1.0, (7, CODES.size)).astype(float)
    for name in ("CI", "DPL", "KL", "LP", "TVD", "DD", "missing_label_rate"):
        many = [{}, {}]
        for term in find(name).terms:
            amount = np.asarray(term.amount(LABELS), dtype=float)
            for code in (0, 1):
                many[code][term.name] = weights[:, code == CODES] @ amount[code == CODES]
        found = find(name).contrast(*many)
        one = find(name).contrast(*({key: part[key][3] for key in part} for part in many))
        assert found.shape == (7,)
        assert found[3] == pytest.approx(float(one), nan_ok=True), name
