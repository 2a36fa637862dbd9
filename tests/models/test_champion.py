"""A bundle of an earlier training on the holdout of this one: other features, newer data, other questions."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cd4ml.adapters import problem_files
from cd4ml.errors import DataError, IntegrityError
from cd4ml.models.champion import (
    another_question,
    holdout_facts,
    lacking,
    may_have_seen,
    predict_holdout,
)
from cd4ml.models.runtime import Bundle
from cd4ml.models.session import open_session, run
from cd4ml.problem import Problem
from cd4ml.steps.champion import score_champion
from cd4ml.steps.documents import read
from cd4ml.tables.dataset import Dataset
from tests.steps.champions import BAKERY, Place, changed, prepare, write_bakery

# The models are made once: all of these tests go to one worker.
pytestmark = pytest.mark.xdist_group("champion")

FEWER = changed(
    BAKERY,
    ("joins: [{table: shops, on: shop}]\n", ""),
    ("  - {kind: columns, columns: [offer, size]}\n", ""),
    ("  - {kind: category, columns: [region], encoding: one_hot}\n", ""),
)


PEOPLE = changed(
    BAKERY[: BAKERY.index("time: {column")] + BAKERY[BAKERY.index("target:") :],
    ("task: regression", "task: classification"),
    ("region: {type: category, known: ahead}", "region: {type: category}"),
    ("target: {column: loaves, min: 0}\nhorizon: 1d\n", "target: {column: region, positive: r1}\n"),
    ("  - {kind: calendar, parts: [day_of_week, trend]}\n", ""),
    ("  - {kind: category, columns: [region], encoding: one_hot}\n", ""),
    ("  - {kind: columns, columns: [offer, size]}\n", "  - {kind: columns, columns: [offer, loaves]}\n"),
    ("  - {kind: lag, of: loaves, lags: [1d, 7d]}\n", ""),
    ("{kind: time, holdout: 28d, folds: 1, fold: 7d}", "{kind: random, holdout: 0.3, folds: 2}"),
    ("family: ridge", "family: logistic"),
    ("{primary: wape, also: [mae], cluster: day, resamples: 200}", "{primary: log_loss, resamples: 200}"),
    ("{name: week_before, kind: seasonal_naive, period: 7d}", "{name: share, kind: mean}"),
    ("slices: [region]", "slices: [shop]"),
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a dataset with a trained model."""
    folder = tmp_path_factory.mktemp("bakery")
    place = prepare(folder / "run", folder / "unused")
    place.train("good")
    return place


@pytest.fixture(scope="module")
def bundle(made: Place) -> Bundle:
    return Bundle.load(made.folder / "good/bundle", own=True)


def problem_at(place: Place) -> Problem:
    return problem_files.loads(place.problem.read_text())


def predicted(bundle: Bundle, place: Place, scratch: Path) -> Any:
    problem = problem_at(place)
    held = holdout_facts(problem, place.snapshot, Dataset.load(place.dataset).role)
    return predict_holdout(bundle, problem, place.snapshot, held, scratch)["prediction"]


def by_dataset(bundle: Bundle, place: Place) -> Any:
    """Return what the bundle's model says to the features of a dataset."""
    data = Dataset.load(place.dataset)
    session = open_session((bundle.folder / "model.onnx").read_bytes())
    return run(session, np.ascontiguousarray(data.X[data.role == 1]))


def test_on_its_own_snapshot_a_bundle_predicts_the_same_to_the_bit(
    made: Place, bundle: Bundle, tmp_path: Path
) -> None:
    assert np.array_equal(predicted(bundle, made, tmp_path), by_dataset(bundle, made))


def test_on_newer_data_its_features_are_those_of_the_newer_history(
    made: Place, bundle: Bundle, tmp_path: Path
) -> None:
    sources = write_bakery(tmp_path / "sources", days=140)
    newer = prepare(tmp_path / "newer", tmp_path / "store", BAKERY, sources)
    found = predicted(bundle, newer, tmp_path)
    assert np.array_equal(found, by_dataset(bundle, newer))
    assert found.size == 336
    # Its own history ends before this holdout: without the newer one the lags would be unknown.
    data = Dataset.load(newer.dataset)
    held = holdout_facts(problem_at(newer), newer.snapshot, data.role)
    alone = bundle.predict({name: held.columns[name] for name in bundle.plan.inputs})
    assert not np.array_equal(found, alone)


def test_a_bundle_of_other_features_is_scored_with_columns_that_the_problem_no_longer_uses(
    made: Place, bundle: Bundle, tmp_path: Path
) -> None:
    fewer = prepare(tmp_path / "fewer", tmp_path / "store", FEWER, made.folder / "sources")
    assert Dataset.load(fewer.dataset).X.shape[1] < Dataset.load(made.dataset).X.shape[1]
    assert np.array_equal(predicted(bundle, fewer, tmp_path), by_dataset(bundle, made))


def test_a_bundle_of_fewer_features_is_scored_too(made: Place, tmp_path: Path) -> None:
    fewer = prepare(tmp_path / "fewer", tmp_path / "store", FEWER, made.folder / "sources")
    old = Bundle.load(fewer.train("old") / "bundle", own=True)
    assert np.array_equal(predicted(old, made, tmp_path), by_dataset(old, fewer))


def test_rows_that_its_own_filters_would_drop_are_predicted_and_are_no_history(
    made: Place, tmp_path: Path
) -> None:
    rule = 'filters: [{name: closed, drop: shop == "s03", reason: closed}]\ntarget:'
    sources = made.folder / "sources"
    everything = prepare(tmp_path / "all", tmp_path / "store", FEWER, sources)
    filtered = prepare(tmp_path / "filtered", tmp_path / "store", changed(FEWER, ("target:", rule)), sources)
    old = Bundle.load(filtered.train("old") / "bundle", own=True)
    found, with_history = predicted(old, everything, tmp_path), by_dataset(old, everything)
    held = holdout_facts(problem_at(everything), everything.snapshot, Dataset.load(everything.dataset).role)
    shop = held.columns["shop"]
    dropped = shop.codes == shop.categories.index("s03")  # type: ignore[union-attr]
    assert found.size == 336
    assert np.array_equal(found[~dropped], by_dataset(old, filtered))
    assert np.array_equal(found[~dropped], with_history[~dropped])
    assert (found[dropped] != with_history[dropped]).all()


def test_a_holdout_that_came_as_a_table_of_its_own_is_read_by_the_bundles_columns(tmp_path: Path) -> None:
    sources = write_bakery(tmp_path / "sources")
    earlier = prepare(tmp_path / "old", tmp_path / "store", PEOPLE, sources)
    old = Bundle.load(earlier.train("x") / "bundle", own=True)
    lines = (sources / "sales.csv").read_text().splitlines()
    (sources / "sales.csv").write_text("\n".join(lines[:901]) + "\n")
    (sources / "late.csv").write_text("\n".join([lines[0], *lines[901:]]) + "\n")
    late = "  late:\n    file: late.csv\n" + PEOPLE[PEOPLE.index("    columns:") : PEOPLE.index("  shops:")]
    two = changed(
        PEOPLE,
        ("  shops:", late + "  shops:"),
        ("facts: sales", "facts: [sales, late]"),
        ("kind: random, holdout: 0.3", "kind: table, holdout: late"),
    )
    place = prepare(tmp_path / "two", tmp_path / "store", two, sources)
    data = Dataset.load(place.dataset)
    assert int((data.role == 1).sum()) == 300
    assert np.array_equal(predicted(old, place, tmp_path), by_dataset(old, place))


def test_what_the_snapshot_lacks_is_named_with_its_type(made: Place, bundle: Bundle, tmp_path: Path) -> None:
    problem, tables = problem_at(made), read(made.snapshot / "manifest.json")["tables"]
    assert lacking(bundle, problem, tables) == []
    without = {name: {**table, "columns": list(table["columns"])} for name, table in tables.items()}
    sales = without["sales"]["columns"] = [dict(column) for column in without["sales"]["columns"]]
    next(c for c in sales if c["name"] == "offer")["type"] = "integer"  # which can be read as a number
    assert lacking(bundle, problem, without) == []
    sales[:] = [c for c in sales if c["name"] != "offer"]
    next(c for c in sales if c["name"] == "loaves")["type"] = "text"
    without.pop("shops")
    found = lacking(bundle, problem, without)
    assert {"table": "sales", "column": "offer", "needed": "number", "found": None} in found
    assert {"table": "sales", "column": "loaves", "needed": "number", "found": "text"} in found
    assert {"table": "shops", "column": "", "needed": "table", "found": None} in found
    assert len(found) == 3


@pytest.mark.parametrize(
    ("file", "gone", "named"),
    [
        ("sales.csv", ("      offer: {type: number, known: ahead}\n", ""), "column 'offer' of 'sales'"),
        ("shops.csv", ("      size: {type: number}\n", ""), "column 'size' of 'shops' as number"),
        ("shops.csv", ("size: {type: number}", "size: {type: text}"), "the snapshot has it as text"),
    ],
)  # fmt: skip
def test_a_champion_that_needs_what_is_gone_cannot_be_compared_with(
    made: Place, tmp_path: Path, file: str, gone: tuple[str, str], named: str
) -> None:
    sources = Path(shutil.copytree(made.folder / "sources", tmp_path / "sources"))
    column = gone[0].strip().partition(":")[0]
    if gone[1] == "":
        rows = [line.split(",") for line in (sources / file).read_text().splitlines()]
        place = rows[0].index(column)
        (sources / file).write_text("\n".join(",".join(r[:place] + r[place + 1 :]) for r in rows) + "\n")
    now = prepare(tmp_path / "now", tmp_path / "store", changed(FEWER, gone), sources)
    Place(made.folder, tmp_path / "store").crown(made.folder / "good")
    told = score_champion(now.problem, now.snapshot, now.dataset, str(now.store), tmp_path / "champion")
    assert told["status"] == "unreadable"
    assert named in told["reason"]
    assert [entry["column"] for entry in told["schema"]["lacking"]] == [column]


def altered(*pairs: tuple[str, str]) -> Problem:
    return problem_files.loads(changed(BAKERY, *pairs))


LONGER = (("horizon: 1d", "horizon: 2d"), ("lags: [1d, 7d]", "lags: [2d, 7d]"))
ROLLING = ("  - {kind: lag, of: loaves, lags: [1d, 7d]}", "  - {kind: rolling, of: loaves, windows: [7d]}")
ANOTHER: dict[str, tuple[Problem, Problem, str]] = {
    "target": (
        altered(),
        altered(("column: loaves", "column: offer"), (", columns: [offer, size]", ", columns: [size]")),
        "it does regression of 'loaves', and the problem now asks for regression of 'offer'",
    ),
    "horizon": (altered(), altered(*LONGER), "it looks at what the problem now says is not known in time"),
    "default of a window": (
        altered(ROLLING),
        altered(ROLLING, ("horizon: 1d", "horizon: 2d")),
        "its feature 'loaves_mean_7d' looks at what the problem now says is not known in time",
    ),
    "age": (
        altered((ROLLING[0], "  - {kind: age}")),
        altered(ROLLING, ("horizon: 1d", "horizon: 2d")),
        "its feature 'age' looks at what the problem now says is not known in time",
    ),
    "season": (
        altered((ROLLING[0], "  - {kind: seasonal, of: loaves, period: 1d, cycles: [2]}")),
        altered(ROLLING, ("horizon: 1d", "horizon: 2d")),
        "its feature 'loaves_season_1d_2' looks at",
    ),
    "raw column": (
        altered(),
        altered(("{type: number, known: ahead}", "{type: number}"), ("[offer, size]", "[size]")),
        "it looks at what the problem now says is not known in time",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ANOTHER)
def test_models_that_answer_another_question_do_not_compare(kind: str) -> None:
    theirs, problem, why = ANOTHER[kind]
    assert another_question(theirs, problem).startswith(why)


def test_a_calendar_that_one_of_two_problems_lacks_is_another_question() -> None:
    theirs = altered()
    without = theirs.model_copy(update={"time": None})
    assert another_question(theirs, without) == another_question(without, theirs) != ""


@pytest.mark.parametrize(
    "theirs",
    [
        altered(),
        altered(*LONGER),
        altered(ROLLING, ("horizon: 1d", "horizon: 3d")),
        problem_files.loads(FEWER),
    ],
)
def test_other_features_and_a_longer_horizon_are_the_same_question(theirs: Problem) -> None:
    assert another_question(theirs, altered()) == ""
    assert another_question(theirs, altered(ROLLING)) == ""
    seasonal = altered((ROLLING[0], "  - {kind: seasonal, of: loaves, period: 7d, cycles: [2]}"))
    assert another_question(seasonal, theirs) == ""


def _told(last: str, rows: int = 1) -> dict[str, Any]:
    return {"rows": {"used": rows}, "split": {"kind": "time", "train": {"rows": rows, "last": last}}}


@pytest.mark.parametrize(
    ("last", "seen"), [("2025-03-01", False), ("2025-03-02", True), ("2025-03-01T23:00:00", False)]
)
def test_what_was_learnt_up_to_the_holdout_was_seen(last: str, seen: bool) -> None:
    meta = {"rows": {}, "split": {"kind": "time", "train": {}, "holdout": {"first": "2025-03-02"}}}
    found = may_have_seen(_told(last), {}, meta, "s")
    assert bool(found) == seen
    assert not seen or found == "it learnt from rows up to 2025-03-02, the holdout begins 2025-03-02"


def test_without_time_only_the_same_snapshot_and_split_are_surely_unseen() -> None:
    meta = {"rows": {"used": 5}, "split": {"kind": "random", "train": {"rows": 4}, "holdout": {"rows": 1}}}
    assert may_have_seen(meta, {"snapshot": "s"}, meta, "s") == ""
    for told, lineage in ((meta, {"snapshot": "other"}), ({**meta, "rows": {"used": 9}}, {"snapshot": "s"})):
        assert "may have learnt from holdout rows" in may_have_seen(told, lineage, meta, "s")


def test_a_champion_that_learnt_from_the_holdout_is_scored_with_a_warning(
    made: Place, tmp_path: Path
) -> None:
    short = changed(BAKERY, ("holdout: 28d", "holdout: 7d"))
    old = prepare(tmp_path / "short", tmp_path / "store", short, made.folder / "sources")
    old.crown(old.train("old"))
    told = score_champion(made.problem, made.snapshot, made.dataset, str(old.store), tmp_path / "champion")
    assert told["status"] == "scored"
    assert told["warning"].startswith("the comparison may favour it: it learnt from rows up to 2025-04-03")


def test_a_classifier_leaves_probabilities_and_decisions(made: Place, tmp_path: Path) -> None:
    place = prepare(tmp_path / "run", tmp_path / "store", PEOPLE, made.folder / "sources")
    trained = place.train("good")
    place.crown(trained)
    told = score_champion(place.problem, place.snapshot, place.dataset, str(place.store), tmp_path / "c")
    assert (told["status"], told["warning"]) == ("scored", "")
    probability, called = (np.load(tmp_path / f"c/{name}.npy") for name in ("predictions", "decisions"))
    assert np.allclose(probability, np.load(trained / "predictions.npy"), rtol=1e-4)
    assert np.array_equal(called, (probability >= 0.5).astype(float))


def test_a_champion_with_stock_leaves_its_quantile_too(made: Place, tmp_path: Path) -> None:
    parts = (
        ("candidates: [{name: line, family: ridge}]",
         "candidates: [{name: trees, family: gradient_boosting, parameters: {max_iter: 5}}]\n"
         "stock: {under_cost: 3, over_cost: 1}"),
    )  # fmt: skip
    place = prepare(tmp_path / "run", tmp_path / "store", changed(BAKERY, *parts), made.folder / "sources")
    place.crown(place.train("good"))
    score_champion(place.problem, place.snapshot, place.dataset, str(place.store), tmp_path / "c")
    prediction, quantile = (np.load(tmp_path / f"c/{name}.npy") for name in ("predictions", "quantile"))
    assert quantile.shape == prediction.shape
    assert quantile.mean() > prediction.mean()


def test_a_champion_that_predicts_nonsense_cannot_be_compared_with(
    made: Place, bundle: Bundle, tmp_path: Path
) -> None:
    held = holdout_facts(problem_at(made), made.snapshot, Dataset.load(made.dataset).role)
    broken = {**held.columns, "offer": np.full(336, 1e30)}
    assert np.isfinite(bundle.predict({n: broken[n] for n in bundle.plan.inputs})).all()
    problem = problem_at(made).model_copy(update={"task": "classification"})
    with pytest.raises(DataError, match="it predicts what is no probability in 336 of 336 holdout rows"):
        predict_holdout(bundle, problem, made.snapshot, held, tmp_path)


def test_a_dataset_of_another_snapshot_is_refused(made: Place) -> None:
    role = np.asarray(Dataset.load(made.dataset).role)
    with pytest.raises(IntegrityError, match="the dataset has 1199 rows, the snapshot gives 1200"):
        holdout_facts(problem_at(made), made.snapshot, role[1:])
    assert timedelta(days=1) == problem_at(made).horizon
