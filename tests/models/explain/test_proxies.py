"""A column is told from its proxies, weighed by what the model rests on, and not from its own feature."""

import numpy as np
import pytest

from cd4ml.domain.hashing import uniform_hash
from cd4ml.features.columns import CategoryArray
from cd4ml.models.explain.proxies import find_proxy

NAMES = ("hint", "noise", "own")


def sample(count=1200, seed=1):
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 2, count)
    hint = group + 0.6 * rng.normal(size=count)
    X = np.column_stack([hint, rng.normal(size=count), group]).astype(np.float32)
    return X, group


def groups(codes, *names):
    return CategoryArray(np.asarray(codes, dtype=np.int32), names)


def look(values, X, importance=(1.0, 1.0, 1.0), **options):
    given = {"names": NAMES, "direct": ("own",), "cluster": np.arange(len(X)), "seed": 3} | options
    return find_proxy("group", values, X, importance=np.array(importance), **given)


def test_a_group_is_told_from_its_hint_as_well_as_theory_allows():
    X, group = sample(3000)
    found = look(groups(group, "a", "b"), X)
    # Two normal distributions 1 apart with deviation 0.6: AUC is Phi(1 / (0.6 sqrt 2)) = 0.881.
    assert found.found.estimate == pytest.approx(0.881, abs=0.02)
    assert found.found.low < 0.881 < found.found.high + 0.02
    assert found.shares[0][0] == "hint" and found.shares[0][1] > 0.8
    assert found.measure == "roc_auc" and found.direct == ("own",) and found.rows == 3000


def test_importance_weighs_what_gives_the_column_away():
    X, group = sample()
    weak = look(groups(group, "a", "b"), X, (0.1, 1.0, 1.0))
    strong = look(groups(group, "a", "b"), X, (1.0, 0.1, 1.0))
    assert weak.weight < 0.4 and strong.weight > 0.85
    assert weak.weighted.estimate < 0.65 < strong.weighted.estimate


def test_features_that_the_model_does_not_use_give_nothing_away():
    X, group = sample()
    found = look(groups(group, "a", "b"), X, (0.0, 1.0, 1.0))
    assert found.found.low < 0.5 < found.found.high
    assert [name for name, _ in found.shares] == ["noise"]
    nothing = look(groups(group, "a", "b"), X, (0.0, 0.0, 1.0))
    assert nothing.found is None and "uses no other feature" in nothing.reason


def test_without_naming_it_the_columns_own_feature_tells_all():
    X, group = sample()
    assert look(groups(group, "a", "b"), X, direct=()).found.estimate > 0.999


def test_a_number_is_told_by_r2():
    X, _ = sample(2000)
    rng = np.random.default_rng(4)
    age = 40 + 10 * X[:, 0] + 5 * rng.normal(size=len(X))
    age[:100] = np.nan
    found = look(age.astype(np.float64), X)
    assert found.measure == "r2" and found.rows == 1900
    assert 0.5 < found.found.low < found.found.estimate < 0.95


def test_several_groups_are_each_told_from_the_rest_and_small_ones_are_not():
    rng = np.random.default_rng(5)
    code = rng.choice([0, 1, 2, 3], 1500, p=[0.5, 0.3, 0.193, 0.007])
    X = np.column_stack([code + 0.2 * rng.normal(size=1500), rng.normal(size=(1500, 2))]).astype(np.float32)
    found = look(groups(code, "a", "b", "c", "rare"), X)
    assert found.found.estimate > 0.95
    assert found.shares[0][0] == "hint"


@pytest.mark.parametrize(
    ("codes", "cluster", "said"),
    [
        (np.r_[np.zeros(600, int), np.full(600, -1)], None, "no two groups of at least 20"),
        (np.r_[np.tile([0, 1], 40), np.full(1120, -1)], None, "80 rows of the sample; 100"),
        (np.tile([0, 1], 600), np.zeros(1200, int), "too few clusters for 3 folds"),
        (np.r_[np.zeros(1190, int), np.ones(10, int)], None, "no two groups of at least 20"),
    ],
)
def test_too_little_to_go_by_is_said_and_not_guessed(codes, cluster, said):
    X, _ = sample()
    options = {} if cluster is None else {"cluster": cluster}
    found = look(groups(codes, "a", "b"), X, **options)
    assert found.found is None and found.weighted is None and said in found.reason


def test_rows_of_a_cluster_are_guessed_together():
    """Noise that marks the cluster tells the group of rows seen before, and not of new clusters."""
    rng = np.random.default_rng(6)
    cluster = np.repeat(np.arange(60), 20)
    mark = rng.normal(size=60)[cluster]
    group = rng.integers(0, 2, 60)[cluster]
    X = np.column_stack([mark, rng.normal(size=(1200, 2))]).astype(np.float32)
    apart = look(groups(group, "a", "b"), X, cluster=cluster)
    leaking = look(groups(group, "a", "b"), X)
    assert leaking.found.estimate > 0.9
    assert apart.found.estimate < 0.7 and apart.found.high - apart.found.low > 0.1


def test_it_repeats_with_its_seed():
    X, group = sample()
    X[::9, 1] = np.nan
    first = look(groups(group, "a", "b"), X)
    assert first == look(groups(group, "a", "b"), X)
    X[:, 1] = np.nan  # a feature without values
    assert look(groups(group, "a", "b"), X).shares[0][0] == "hint"


def test_a_holdout_that_was_drawn_by_the_same_hash_still_has_folds():
    X, group = sample(6000)
    held = np.flatnonzero(uniform_hash(np.arange(6000), 3) < 0.2)
    found = look(groups(group[held], "a", "b"), X[held], cluster=held)
    assert found.found is not None and found.found.estimate > 0.8
