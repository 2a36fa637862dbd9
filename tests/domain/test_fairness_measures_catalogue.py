"""The catalogue holds together: every measure is described, is neutral between equals, and sums once."""

from pathlib import Path

import numpy as np
import pytest

from cd4ml.domain.bootstrap import resample
from cd4ml.domain.fairness.bins import fine_bins
from cd4ml.domain.fairness.catalogue import (
    CATALOGUE,
    DEFAULT_BLOCKING,
    blocking,
    default_blocking,
    find,
    measures,
)
from cd4ml.domain.fairness.measure import Measure, sums_by
from cd4ml.errors import NotFoundError, UsageError
from tests.domain.fairness_samples import contrast, sample, sums_of

CLARIFY_BEFORE = ["CI", "DPL", "KL", "JS", "LP", "TVD", "KS", "CDDL"]
# Clarify's FT is flips.flip_test: neighbours are no sums.
CLARIFY_AFTER = ["DPPL", "DI", "DCA", "DCR", "RD", "SD", "DAR", "DRR", "AD", "CDDPL", "TE", "GE"]
AEQUITAS = ["ppr", "pprev", "fdr", "for", "fpr", "fnr", "npv", "precision", "tpr", "tnr"]
DOCUMENT = Path(__file__).parents[2] / "docs" / "bias.md"


def _everything(n=400, seed=3, binary=True):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n) if binary else rng.gamma(2.0, 5.0, n)
    score = rng.random(n) if binary else y + rng.normal(0, 2.0, n)
    return sample(
        y,
        score,
        (score > 0.5) if binary else None,
        weight=rng.integers(1, 3, n).astype(float),
        age=rng.integers(0, 50, n).astype(float),
        strata=rng.integers(0, 4, n),
        low=score - 1,
        high=score + 1,
        quantile_score=score + 1,
        quantile=0.9,
    )


def _rows(measure):
    return _everything(binary="classification" in measure.tasks)


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_measure_tells_its_formula_range_zero_and_source(name):
    text = CATALOGUE[name].description
    summary, _, rest = text.partition("\n\n")
    words = " ".join(text.split())
    ranges = ("in [", "In practice within [", "Range [", "size is at most")
    assert summary.endswith(".")
    assert any(found in words for found in ranges), text
    assert "0 means" in words or "0 is" in words or "1 means" in words, text
    assert "Source: " in rest and len(CATALOGUE[name].source) > 3
    assert CATALOGUE[name].source in words


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_groups_with_the_same_rows_are_equal(name):
    measure = CATALOGUE[name]
    rows = _rows(measure)
    twice = np.r_[np.arange(400), np.arange(400)]
    codes = np.repeat([0, 1], 400)
    found = contrast(name, rows.take(twice), codes)
    neutral = {"rate_ratio": 1.0, "error_ratio": 1.0}.get(measure.compare, 0.0)
    assert found == pytest.approx(0.5 if name == "predicted_positive_share" else neutral, abs=1e-12)


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_swapping_the_groups_turns_a_contrast_round(name):
    measure = CATALOGUE[name]
    rows, codes = _rows(measure), np.random.default_rng(1).integers(0, 2, 400)
    here, there = contrast(name, rows, codes), contrast(name, rows, 1 - codes)
    assert np.isfinite(here)
    if measure.compare in ("rate_ratio", "error_ratio"):
        assert here * there == pytest.approx(1.0)
    elif name in ("label_kl", "score_ks_within_deciles", "score_wasserstein_within_deciles"):
        assert here >= 0 and there >= 0  # the slice's own shares weigh: not symmetric
    elif measure.compare == "distance":
        assert here == pytest.approx(there) and here > 0
    elif name in ("predicted_positive_share", "conditional_target_difference"):
        assert here != pytest.approx(there)
    else:
        assert here == pytest.approx(-there)


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_resampled_sums_of_any_leading_shape_give_the_same_values(name):
    rows = _rows(CATALOGUE[name])
    codes = np.random.default_rng(2).integers(0, 6, 400)
    sums = sums_by(CATALOGUE[name].terms, rows, codes, 6)
    own = {key: np.stack([value[:3], value[:3] * 2]) for key, value in sums.items()}
    other = {key: np.stack([value[3:], value[3:]]) for key, value in sums.items()}
    found = CATALOGUE[name].contrast(own, other)
    assert found.shape == (2, 3)
    single = CATALOGUE[name].contrast(
        {key: value[1] for key, value in sums.items()}, {key: value[4] for key, value in sums.items()}
    )
    assert found[0, 1] == pytest.approx(float(single))


def test_one_name_of_a_term_is_one_sum():
    for binary in (True, False):
        rows = _everything(binary=binary)
        found = {}
        for measure in CATALOGUE.values():
            if not measure.applies(rows) or ("classification" in measure.tasks) != binary:
                continue
            for term in measure.terms:
                amount = np.asarray(term.amount(rows), dtype=float)
                bins = None if term.bins is None else term.bins(rows).codes.tolist()
                kept = found.setdefault(term.name, (amount, bins))
                np.testing.assert_array_equal(kept[0], amount)
                assert kept[1] == bins


def test_the_values_of_a_term_are_its_amounts_in_their_bins():
    rows = _everything()
    codes = np.random.default_rng(2).integers(0, 3, 400)
    for measure in CATALOGUE.values():
        for term in measure.terms:
            sums = sums_by([term], rows, codes, 3)[term.name]
            dense = term.values(rows)
            assert dense.shape == (400, *sums.shape[1:])
            np.testing.assert_allclose(dense[codes == 1].sum(axis=0), sums[1], atol=1e-9)


def test_every_published_name_is_in_the_catalogue_at_its_stage():
    assert {find(name).stage for name in CLARIFY_BEFORE} == {"pre"}
    assert {find(name).stage for name in CLARIFY_AFTER + AEQUITAS} == {"post"}
    assert len({find(name).name for name in CLARIFY_BEFORE + CLARIFY_AFTER}) == 20


def test_names_and_aliases_are_of_one_measure_each():
    words = [w.lower() for m in CATALOGUE.values() for w in (m.name, *m.aliases)]
    assert len(words) == len(set(words))


def test_an_unknown_measure_is_refused_with_the_nearest():
    with pytest.raises(NotFoundError, match="did you mean 'selection_rate'"):
        find("selektion_rate")


def test_measures_are_chosen_by_task_stage_and_what_the_sample_has():
    bare = sample([0, 1, 1], [0.2, 0.4, 0.9])
    names = {measure.name for measure in measures("classification", "post", bare)}
    assert "mean_score" in names
    assert not {"selection_rate", "conditional_demographic_disparity", "wape"} & names
    assert {"wape", "pinball"} <= {measure.name for measure in measures("regression", "post")}
    assert "recency" not in {m.name for m in measures("regression", "pre", bare)}
    assert all(m.stage == "pre" for m in measures("regression", "pre"))


def test_what_blocks_by_default_is_of_its_task_and_follows_the_primary_metric():
    for task, names in DEFAULT_BLOCKING.items():
        assert all(task in CATALOGUE[name].tasks and CATALOGUE[name].stage == "post" for name in names)
        assert all(CATALOGUE[name].judged for name in names)
    assert default_blocking("regression", "nwrmsle") == ("nwrmsle", "predicted_to_actual")
    assert default_blocking("regression", "r2") == ("wape", "predicted_to_actual")
    assert default_blocking("classification", "roc_auc") == ("selection_rate",)
    assert default_blocking("classification", "log_loss") == ("selection_rate",)


def test_chosen_measures_block_under_their_own_names_and_a_slip_is_refused():
    assert blocking("regression", primary="rmse") == {"rmse", "predicted_to_actual"}
    assert blocking("classification", ["DI", "equal_opportunity"]) == {"selection_rate", "true_positive_rate"}
    assert blocking("classification", []) == frozenset()
    with pytest.raises(NotFoundError, match="did you mean 'selection_rate'"):
        blocking("classification", ["selection_rat"])


@pytest.mark.parametrize("name", ["wape", "DPL", "ppr"])
def test_a_measure_of_another_task_or_stage_or_never_judged_cannot_block(name):
    with pytest.raises(UsageError, match=f"may name, for classification, any of .*; found '{name}'"):
        blocking("classification", [name])


def test_what_is_better_for_a_group_is_said_where_either_is():
    better = {m.name for m in CATALOGUE.values() if m.higher_is_better}
    worse = {m.name for m in CATALOGUE.values() if m.higher_is_better is False}
    assert better == {
        "accuracy",
        "balanced_accuracy",
        "f1",
        "interval_coverage",
        "negative_predictive_value",
        "precision",
        "true_negative_rate",
        "true_positive_rate",
    }
    assert {m.name for m in CATALOGUE.values() if m.compare == "error_ratio"} < worse
    assert {"false_positive_rate", "missing_label_rate", "theil_index"} < worse
    assert not {"selection_rate", "predicted_to_actual"} & worse


def test_what_follows_from_the_size_of_a_group_is_not_judged():
    assert {m.name for m in CATALOGUE.values() if not m.judged} == {
        "class_imbalance",
        "predicted_positive_share",
    }


def test_a_measure_without_its_data_or_its_formula_is_refused():
    with pytest.raises(UsageError, match="needs the sample's decision"):
        contrast("selection_rate", sample([0, 1]), np.array([0, 1]))
    empty = Measure("x", "X", "post", frozenset(), (), None, None, "difference", None, "", "")
    with pytest.raises(UsageError, match="'x' needs a formula or a pair"):
        empty.contrast({}, {})


def test_rows_of_no_group_are_in_no_sum():
    rows = sample([1, 1, 0], [1, 1, 1], [1, 1, 1])
    sums = sums_by((*find("selection_rate").terms, *find("score_ks").terms), rows, np.array([0, -1, 0]), 1)
    assert (sums["tp"][0], sums["fp"][0]) == (1, 1)
    assert sums["score_bin_rows"].sum() == 2


def test_a_sample_is_taken_by_mask_or_index_with_all_that_it_has():
    rows = _everything(10)
    taken = rows.take(np.arange(10) < 4)
    assert taken.y.shape == taken.low.shape == taken.strata.shape == (4,)
    assert taken.quantile == 0.9
    np.testing.assert_array_equal(rows.take(np.array([3, 1])).age, rows.age[[3, 1]])


def test_bins_rise_with_values_and_hold_equal_mass_when_there_are_many():
    few = fine_bins(np.array([3.0, 1.0, np.nan, 3.0]))
    assert few.codes.tolist() == [1, 0, 0, 1]
    uneven = np.repeat(np.arange(50.0), np.arange(1, 51))
    assert fine_bins(uneven).codes.tolist() == uneven.tolist()
    many = fine_bins(np.random.default_rng(0).normal(size=5000))
    assert np.bincount(many.codes, minlength=many.count).tolist() == pytest.approx([100] * 50, abs=1)
    assert fine_bins(np.full(3, np.nan)).codes.tolist() == [0, 0, 0]


def test_the_sums_fit_the_clustered_bootstrap():
    rows, codes = _everything(), np.repeat([0, 1], 200)
    design = resample(400, np.arange(400) % 20, resamples=100)
    held = []
    for code in (0, 1):
        inside = codes == code
        sums = {
            term.name: design.replicate(design.totals(np.where(inside, term.values(rows), 0.0)))
            for term in find("selection_rate").terms
        }
        held.append({name: value[:, 0] for name, value in sums.items()})
    found = find("selection_rate").contrast(*held)
    assert found.shape == (100,)
    assert np.median(found) == pytest.approx(contrast("selection_rate", rows, codes), rel=0.1)


def test_the_document_lists_every_measure_with_its_formula_and_source():
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, measure in CATALOGUE.items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        said = " ".join(measure.description.split("Source: ")[0].split()).replace("|", "\\|")
        assert said in row, name
        assert measure.source in row, name
        assert all(f"`{alias}`" in row for alias in measure.aliases), name


def test_sums_of_a_slice_and_of_the_others_are_apart():
    own, other = sums_of("missing_label_rate", sample([1, np.nan, 0]), np.array([0, 0, 1]))
    assert (float(own["labelled"]), float(other["labelled"])) == (1.0, 1.0)
    assert (float(own["rows"]), float(other["rows"])) == (2.0, 1.0)
