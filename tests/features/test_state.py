"""What features need besides a row is data: saved without code, the same bytes for the same state."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.errors import IntegrityError
from cd4ml.features.columns import take
from cd4ml.features.state import State
from cd4ml.features.transform import transform
from tests.features.samples import columns_of, fitted, only, random_rows, same_bits, shop, tables


def _bytes(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def _saved(state, folder):
    folder.mkdir()
    state.save(folder)
    return folder


@pytest.fixture
def saved(tmp_path):
    plan, state, facts = fitted(shop(), random_rows(5))
    return plan, state, facts, _saved(state, tmp_path / "state")


@pytest.mark.parametrize("mapped", [False, True])
def test_a_state_that_was_saved_gives_the_same_features_and_the_same_bytes_again(saved, tmp_path, mapped):
    plan, state, facts, folder = saved
    again = State.load(folder, mapped=mapped)
    assert same_bits(transform(plan, again, facts), transform(plan, state, facts))
    assert _bytes(_saved(again, tmp_path / "again")) == _bytes(folder)
    assert (again.names, again.kinds, again.last_step) == (state.names, state.kinds, state.last_step)


def test_the_order_of_the_rows_does_not_change_the_bytes_where_sums_are_exact(tmp_path):
    rows = random_rows(5)
    shuffled = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
    problem = only({"kind": "category", "columns": ["item"]}, {"kind": "age"},
                   {"kind": "lag", "of": "amount", "by": "family", "lags": ["3d"]})  # fmt: skip
    found = [fitted(problem, members)[1] for members in (rows, shuffled)]
    first, second = (_bytes(_saved(state, tmp_path / name)) for state, name in zip(found, "ab", strict=True))
    assert first == second


def test_a_state_holds_arrays_and_text_and_no_objects(saved):
    names = set(_bytes(saved[3]))
    assert {name.rsplit(".", 1)[1] for name in names} == {"npy", "json"}
    for file in saved[3].glob("*.npy"):
        assert np.load(file, allow_pickle=False).dtype.kind in "iufM"
    json.loads((saved[3] / "state.json").read_text())


def test_a_state_that_is_mapped_may_be_saved_where_it_lies(saved):
    plan, state, facts, folder = saved
    before = _bytes(folder)
    State.load(folder, mapped=True).save(folder)
    assert _bytes(folder) == before
    assert same_bits(transform(plan, State.load(folder), facts), transform(plan, state, facts))


@pytest.mark.parametrize("budget", [1, 500, 1000])
def test_a_history_beyond_the_memory_is_a_file_with_the_same_bytes(saved, tmp_path, budget):
    place = tmp_path / "large"
    place.mkdir()
    plan, state, facts = fitted(shop(), random_rows(5), memory_budget_bytes=budget, scratch=place)
    assert any(isinstance(panel.values, np.memmap) for panel in state.panels)
    state.save(place)
    assert _bytes(place) == _bytes(saved[3])
    whole = transform(saved[0], saved[1], facts)
    assert same_bits(transform(plan, state, facts, memory_budget_bytes=budget, chunk_rows=10), whole)


def test_a_history_beyond_the_memory_without_a_place_for_files_is_the_same():
    _, state, _ = fitted(shop(), random_rows(5), memory_budget_bytes=1)
    _, whole, _ = fitted(shop(), random_rows(5))
    for part, panel in zip(state.panels, whole.panels, strict=True):
        assert same_bits(part.values, panel.values)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 40))
def test_a_cut_state_serves_its_last_steps_and_all_that_come_after(seed, steps):
    problem, rows = shop(), random_rows(seed)
    plan, state, facts = fitted(problem, rows)
    cut = state.trim(steps, plan.needed_steps)
    last = max(row["date"] for row in rows)
    kept = np.flatnonzero([(last - row["date"]).days < steps for row in rows])
    asked = take(facts, kept)
    assert same_bits(transform(plan, cut, asked), transform(plan, state, asked))
    later = columns_of(problem.fact, [{**row, "date": last.replace(year=last.year + 1)} for row in rows[:3]])
    assert same_bits(transform(plan, cut, later), transform(plan, state, later))
    assert cut.panel_bytes <= state.panel_bytes


def test_a_cut_state_is_smaller_and_survives_saving(saved, tmp_path):
    plan, state, facts, _ = saved
    cut = state.trim(2, plan.needed_steps)
    assert cut.panel_bytes < state.panel_bytes
    assert cut.first_step > state.first_step == 0
    again = State.load(_saved(cut, tmp_path / "cut"))
    assert again.first_step == cut.first_step
    assert same_bits(transform(plan, again, facts), transform(plan, cut, facts))


def test_a_state_without_history_has_no_panels(tmp_path):
    _, state, _ = fitted(only({"kind": "columns", "columns": ["size"]}), random_rows(1))
    assert state.panels == ()
    assert (state.panel_bytes, state.first_step) == (0, 0)
    assert State.load(_saved(state, tmp_path / "small")).panels == ()


def _without_version(document):
    del document["version"]


def _of_the_future(document):
    document["version"] = 99


def _with_a_longer_panel(document):
    document["panels"][0]["steps"] += 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_of_the_future, "expected a features state of version 1; found 99. Make the bundle anew"),
        (_without_version, "is no whole features state: 'version'"),
        (_with_a_longer_panel, "expected a history of"),
    ],
)
def test_a_state_of_another_shape_is_refused(saved, change, message):
    file = saved[3] / "state.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))
    with pytest.raises(IntegrityError, match=message):
        State.load(saved[3])


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"text", None])
@pytest.mark.parametrize("name", ["panel0.npy", "group0-ids.npy", "state.json"])
def test_a_broken_file_is_refused_without_a_traceback_of_numpy(saved, name, content):
    file = saved[3] / name
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(IntegrityError, match="state is no whole features state"):
        State.load(saved[3])
    with pytest.raises(IntegrityError, match="state is no whole features state"):
        State.load(saved[3], mapped=True)


def test_a_state_of_a_list_is_refused(saved):
    (saved[3] / "state.json").write_text("[]")
    with pytest.raises(IntegrityError, match="no whole features state"):
        State.load(saved[3])


def test_an_absent_optional_table_is_empty():
    others = {name: rows for name, rows in tables().items() if name != "oil"}
    plan, state, facts = fitted(shop(), random_rows(1), others=others)
    found = transform(plan, state, facts)
    assert np.isnan(found[:, state.names.index("price_by_all_mean_5d")]).all()
