"""History tables: what is loaded is what was made for this bundle, and newer."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cd4ml.adapters.manifest import bundle_id, write_manifest
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY, generate_keypair
from cd4ml.errors import DataError, IntegrityError
from cd4ml.features.columns import ColumnSet, take
from cd4ml.features.fitting import refresh_state
from cd4ml.features.state import State
from cd4ml.models.history import HistoryTable, history_span, load_history, write_history
from cd4ml.models.runtime import Bundle, holdout_rows
from tests.adapters.s3_server import environment
from tests.models.bundles import bundle, contents, copy
from tests.models.newer_sales import all_sales, later_sales

KEYS, OTHERS = generate_keypair(), generate_keypair()
NO_CHANGES = {"steps": 0, "first": "", "last": "", "series": [], "groups": [], "tables": []}
ABOUT: dict[str, Any] = {"snapshot": "5" * 64, "rows": 380, "changes": NO_CHANGES}


@pytest.fixture(autouse=True)
def no_keys() -> Iterator[None]:
    with environment(**{SIGNING_KEY: None, VERIFY_KEY: None}):
        yield


@pytest.fixture(scope="module")
def loaded() -> Bundle:
    return Bundle.load(bundle("shop"))


def newer(loaded: Bundle, columns: ColumnSet | None = None) -> State:
    plan = loaded.plan
    state = refresh_state(plan, loaded.state, all_sales() if columns is None else columns, {})
    return state.trim(state.last_step - loaded.state.first_step + 1 - plan.needed_steps, plan.needed_steps)


@pytest.fixture
def table(loaded: Bundle, tmp_path: Path) -> Path:
    write_history(tmp_path / "history", loaded, newer(loaded), **ABOUT)
    return tmp_path / "history"


def resealed(folder: Path, **changes: Any) -> Path:
    """Write a manifest that fits altered files, as one who means harm, or errs, would."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    extra = {name: value for name, value in manifest.items() if name not in ("files", "self_sha256")}
    kept = {name: value for name, value in {**extra, **changes}.items() if value is not None}
    write_manifest(folder, **kept)
    return folder


def test_a_bundle_with_a_table_looks_back_at_newer_sales(loaded: Bundle, table: Path) -> None:
    updated = load_history(table, loaded)
    assert (updated.id, updated.history, loaded.history) == (loaded.id, bundle_id(table), "")
    rows = take(later_sales(), slice(40, None))  # from the eleventh day on
    names = loaded.state.names
    lag = [number for number, name in enumerate(names) if "lag" in name or "mean" in name]
    assert np.isnan(loaded.features(rows)[:, lag]).all()
    known = take(rows, slice(0, 3))
    assert not np.isnan(updated.features(rows)[:, lag]).any()
    day = later_sales()["units"][4 * 8 : 4 * 8 + 3]  # two days before that, in the first three stores
    assert (updated.features(known)[:, names.index("units_lag_2d")] == day).all()
    assert not np.array_equal(updated.predict(rows), loaded.predict(rows))


def test_what_was_judged_is_still_predicted_to_the_bit(loaded: Bundle, table: Path) -> None:
    rows = holdout_rows(bundle("shop"))
    before, after = loaded.predict_rows(rows), load_history(table, loaded).predict_rows(rows)
    assert {name: values.tobytes() for name, values in after.items()} == {
        name: values.tobytes() for name, values in before.items()
    }


def test_a_store_that_training_did_not_know_has_a_history_and_stays_an_unknown_category(
    loaded: Bundle, table: Path
) -> None:
    west = take(later_sales(), slice(79, 80))
    before, after = loaded.features(west)[0], load_history(table, loaded).features(west)[0]
    names = loaded.state.names
    assert after[names.index("store")] == before[names.index("store")]
    assert np.isnan(before[names.index("units_lag_2d")])
    assert after[names.index("units_lag_2d")] == later_sales()["units"][71]  # type: ignore[index]


def test_the_same_arguments_give_the_same_bytes_and_the_id_names_them(
    loaded: Bundle, table: Path, tmp_path: Path
) -> None:
    identity = write_history(tmp_path / "again", loaded, newer(loaded), **ABOUT)
    assert contents(tmp_path / "again") == contents(table)
    assert identity == bundle_id(table) == HistoryTable.open(table).id
    other = write_history(tmp_path / "other", loaded, newer(loaded, all_sales(10)), **ABOUT)
    assert other != identity


def test_a_table_of_the_bundles_own_data_holds_the_bundles_own_history(
    loaded: Bundle, tmp_path: Path
) -> None:
    write_history(tmp_path / "same", loaded, newer(loaded, all_sales(0)), **ABOUT)
    own = contents(bundle("shop") / "features")
    assert contents(tmp_path / "same" / "features") == own


def test_it_says_what_it_is(loaded: Bundle, table: Path) -> None:
    found = HistoryTable.open(table)
    assert (found.bundle, found.problem, found.snapshot) == (loaded.id, "corner-shop", "5" * 64)
    assert (found.last, found.rows, found.members) == ("2020-06-28", 380, {"store": 4})
    assert found.first == history_span(loaded.state)["first"]
    assert found.steps == (np.datetime64(found.last) - np.datetime64(found.first)).astype(int) + 1
    assert found.signature is not None
    assert found.signature.state == "unsigned"
    assert HistoryTable.open(table, verify=False).signature is None


@pytest.mark.parametrize("name", ["features/panel0.npy", "features/state.json", "manifest.json"])
def test_an_altered_table_is_refused_by_the_files_name(loaded: Bundle, table: Path, name: str) -> None:
    data = bytearray((table / name).read_bytes())
    data[-9] ^= 1
    (table / name).write_bytes(data)
    with pytest.raises(IntegrityError, match=f"history table '.*': '{name}' was changed"):
        load_history(table, loaded)


def test_a_missing_or_additional_file_is_refused(loaded: Bundle, table: Path) -> None:
    (table / "more.txt").write_text("x")
    with pytest.raises(IntegrityError, match=r"history table '.*': 'more\.txt' is additional"):
        load_history(table, loaded)
    (table / "more.txt").unlink()
    (table / "features/panel0.npy").unlink()
    with pytest.raises(IntegrityError, match=r"history table '.*': 'features/panel0\.npy' is missing"):
        load_history(table, loaded)


def test_what_is_no_history_table_is_refused(loaded: Bundle, table: Path, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"no manifest\.json, so it is no whole history table"):
        load_history(tmp_path, loaded)
    with pytest.raises(IntegrityError, match=r"of format 1 in .*; found a bundle"):
        load_history(bundle("shop"), loaded)
    with pytest.raises(IntegrityError, match="found a history of format 9"):
        load_history(resealed(table, format="9"), loaded)
    with pytest.raises(IntegrityError, match="lacks entries"):
        load_history(resealed(table, format="1", last=None), loaded)


def test_another_bundles_table_is_refused(loaded: Bundle, table: Path, tmp_path: Path) -> None:
    other = copy("shop", tmp_path / "other")
    (other / "card.md").write_text("another one")
    write_manifest(other, format="1", problem="corner-shop")
    with pytest.raises(IntegrityError, match=f"belongs to the bundle {loaded.id[:12]}; expected one of"):
        load_history(table, Bundle.load(other))


def test_a_table_that_only_says_that_it_is_this_bundles_is_refused(
    loaded: Bundle, table: Path, tmp_path: Path
) -> None:
    words = loaded.state.vocabularies["store"]
    turned = replace(words, texts=words.texts[::-1])
    foreign = replace(
        newer(loaded), vocabularies={**loaded.state.vocabularies, "store": turned}, prepared=None
    )
    with pytest.raises(IntegrityError, match="found one of another training"):
        write_history(tmp_path / "foreign", loaded, foreign, **ABOUT)
    assert not (tmp_path / "foreign").exists()
    foreign.save(table / "features")
    with pytest.raises(IntegrityError, match="found one of another training"):
        load_history(resealed(table), loaded)


def test_a_history_that_is_older_than_the_bundles_own_is_refused(
    loaded: Bundle, table: Path, tmp_path: Path
) -> None:
    older = newer(loaded, take(all_sales(0), slice(0, 270)))
    told = r"up to 2020-06-08 or later, where the bundle's own ends; found one up to 2020-05-29"
    with pytest.raises(DataError, match=told):
        write_history(tmp_path / "older", loaded, older, **ABOUT)
    older.save(table / "features")
    with pytest.raises(DataError, match=told):
        load_history(resealed(table), loaded)


def test_a_signature_is_written_and_asked_for_as_with_bundles(loaded: Bundle, tmp_path: Path) -> None:
    with environment(**{SIGNING_KEY: KEYS[0]}):
        write_history(tmp_path / "signed", loaded, newer(loaded), **ABOUT)
        write_history(tmp_path / "plain", loaded, newer(loaded), **ABOUT, signed=False)
    with environment(**{VERIFY_KEY: KEYS[1]}):
        found = HistoryTable.open(tmp_path / "signed")
        assert found.signature is not None
        assert found.signature.state == "valid"
        with pytest.raises(IntegrityError, match=r"history table '.*' was refused\. UNSIGNED"):
            load_history(tmp_path / "plain", loaded)
        assert load_history(tmp_path / "plain", loaded, own=True).history == found.id
    with (
        environment(**{VERIFY_KEY: OTHERS[1]}),
        pytest.raises(IntegrityError, match=r"history table '.*' was refused\. UNVERIFIED"),
    ):
        load_history(tmp_path / "signed", loaded)


def test_a_table_that_cannot_be_written_leaves_the_old_one(loaded: Bundle, table: Path) -> None:
    before = contents(table)
    with pytest.raises(TypeError):
        write_history(table, loaded, newer(loaded), snapshot="5" * 64, rows=1, changes={"x": object()})
    assert contents(table) == before
    assert [path.name for path in table.parent.iterdir()] == ["history"]
