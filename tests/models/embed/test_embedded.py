"""An embedded model predicts what the bundle predicts, for every form of rows."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.errors import DataError, GateRejected, IntegrityError, RowError
from cd4ml.models.embed import embedded
from cd4ml.models.embed.embedded import Embedded
from cd4ml.models.form_parity import compare_form
from cd4ml.models.runtime import Bundle, holdout_rows
from tests.models.bundles import bundle, copy


def model(name="shop", folder=None):
    folder = folder or bundle(name)
    return Embedded(folder, Bundle.load(folder).id, "1")


def test_every_form_of_the_holdout_gives_what_was_judged():
    for name in ("shop", "people"):
        rows, found = holdout_rows(bundle(name)), model(name)
        judged = np.load(bundle(name) / "holdout" / "prediction.npy")
        columns = {key: [row.get(key) for row in rows] for key in rows[0]}
        for form in (rows, tuple(rows), columns, pd.DataFrame(rows), pl.DataFrame(columns)):
            assert (found.predict(form).astype(np.float32) == judged).all()
        assert found.verify().agrees
        assert found.contract() == Bundle.load(bundle(name)).contract


PEOPLE_ROWS = holdout_rows(bundle("people"))


@settings(deadline=None, max_examples=30)
@given(order=st.permutations(range(20)), data=st.data())
def test_rows_in_any_order_and_any_parts_predict_the_same(order, data):
    found = model("people")
    expected = found.predict(PEOPLE_ROWS[:20])
    cut = data.draw(st.integers(1, 19))
    parts = [order[:cut], order[cut:]]
    made = np.concatenate([found.predict([PEOPLE_ROWS[i] for i in part]) for part in parts])
    assert (made == expected[list(order)]).all()


def test_more_rows_than_a_request_may_have_are_worked_on_in_chunks_and_named_by_their_place():
    found, rows = model("people"), [PEOPLE_ROWS[0]] * (embedded._CHUNK_ROWS + 3)
    assert len(found.predict(rows)) == len(rows)
    for form in ([*rows, {"age": -1, "plan": "basic"}], None):
        if form is None:
            form = pd.DataFrame([*rows, {**rows[0], "age": -1}])  # noqa: PLW2901 - the same as a frame
        with pytest.raises(RowError, match=r"^row 20003: field 'age' must be .* found -1") as caught:
            found.predict(form)
        assert caught.value.row == 20003


def test_what_breaks_the_contract_is_refused_by_field():
    with pytest.raises(RowError, match="row 1: unknown field 'pln'; did you mean 'plan'"):
        model("people").predict([PEOPLE_ROWS[0], {"pln": "basic"}])
    with pytest.raises(RowError, match="'plan' must be a text, one of: basic, old, plus; found 'gold'"):
        model("people").predict(pd.DataFrame({"age": [30], "plan": ["gold"]}))
    with pytest.raises(RowError, match="expected from 1 to 1 rows; found 0"):
        model("people").predict([])
    with pytest.raises(DataError, match="found str"):
        model("people").predict("rows")


def test_another_bundle_or_a_changed_one_is_refused(tmp_path):
    with pytest.raises(IntegrityError, match="expected bundle 000000000000; found"):
        Embedded(bundle("shop"), "0" * 64, "1").predict([])
    found = model(folder=copy("shop", tmp_path / "bundle"))
    (tmp_path / "bundle" / "model.onnx").write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"'model\.onnx' was changed"):
        found.load()


def test_threads_load_it_once_and_predict_at_the_same_time():
    found = model("people")
    with ThreadPoolExecutor(8) as pool:
        loaded = {id(item) for item in pool.map(lambda _: found.load(), range(32))}
        made = list(pool.map(lambda _: found.predict(PEOPLE_ROWS).tobytes(), range(32)))
    assert len(loaded) == 1
    assert len(set(made)) == 1


def test_parity_is_relative_to_large_values_and_absolute_for_small_ones():
    expected = {"prediction": np.array([1e6, 0.1, np.nan])}
    assert compare_form("a", expected, {"prediction": [1e6 + 9, 0.1, np.nan]}).agrees
    off = compare_form("a", expected, {"prediction": [1e6 + 11, 0.1, np.nan]})
    assert (off.agrees, off.row, round(off.largest_difference, 7)) == (False, 0, 1.1e-5)
    assert not compare_form("a", expected, {"prediction": [1e6, 0.10002, np.nan]}).agrees
    for broken in ([1e6, 0.1, 0.0], [np.inf, 0.1, np.nan], [np.nan, 0.1, np.nan], [1e6, 0.1]):
        with pytest.raises(GateRejected, match="is off by inf"):
            compare_form("a", expected, {"prediction": broken}).require()
    with pytest.raises(GateRejected, match="quantile of holdout row 0"):
        compare_form("a", {**expected, "quantile": np.zeros(3)}, expected).require()
    with pytest.raises(DataError, match="parity needs holdout rows"):
        compare_form("a", {}, {})
