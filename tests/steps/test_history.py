"""History tables of data on disk: as a step, a component and a command, and used for a file of rows."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY
from cd4ml.cli.main import main
from cd4ml.errors import ContractError, DataError, IntegrityError, UsageError
from cd4ml.features.columns import take
from cd4ml.models.history import HistoryTable, load_history
from cd4ml.models.runtime import Bundle
from cd4ml.steps.history import history_from_sources, update_history
from cd4ml.steps.predict import predict_file
from cd4ml.steps.snapshot import take_snapshot
from components.delivery.update_history.component import update_history as update_component
from tests.adapters.s3_server import environment
from tests.models.bundles import bundle, contents, copy
from tests.models.newer_sales import all_sales, later_sales, write_sales
from tests.steps.test_endpoint import Artifact, Metrics

MADE = {
    "rows": 380.0,
    "rows_quarantined": 0.0,
    "steps_added": 20.0,
    "steps_changed": 0.0,
    "members_gone": 0.0,
}


@pytest.fixture(autouse=True)
def own_store(tmp_path):
    with environment(CD4ML_STORE=str(tmp_path / "store"), **{SIGNING_KEY: None, VERIFY_KEY: None}):
        yield


@pytest.fixture
def data(tmp_path):
    return write_sales(all_sales(), tmp_path / "data")


def edit(folder, column, value, stores=("north",)):
    """Change the sales of the first of June, which the bundle's own history holds."""
    frame = pl.read_csv(folder / "sales.csv")
    hit = (pl.col("day") == "2020-06-01") & pl.col("store").is_in(stores)
    frame.with_columns(pl.when(hit).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)).write_csv(
        folder / "sales.csv"
    )


def snapshot_of(data, place):
    take_snapshot(bundle("shop") / "problem.json", str(data), "", place, place.parent / "profile.html")
    return place


def test_files_of_newer_sales_become_a_history_that_gives_numbers_where_there_were_none(tmp_path, data):
    found = history_from_sources(bundle("shop"), str(data), tmp_path / "history")
    assert found == MADE
    before = Bundle.load(bundle("shop"))
    after = load_history(tmp_path / "history", before)
    rows = take(later_sales(), slice(60, None))
    lag = before.state.names.index("units_lag_7d")
    assert np.isnan(before.features(rows)[:, lag]).all()
    assert np.array_equal(after.features(rows)[:, lag], later_sales()["units"][32:52].astype(np.float32))


def test_the_same_data_give_the_same_table_by_sources_and_by_snapshot(tmp_path, data):
    history_from_sources(bundle("shop"), str(data), tmp_path / "a")
    assert update_history(bundle("shop"), snapshot_of(data, tmp_path / "snapshot"), tmp_path / "b") == MADE
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_rows_that_break_the_contract_are_set_aside_as_in_training(tmp_path, data):
    edit(data, "weather", "snow", ("north", "south"))
    found = history_from_sources(bundle("shop"), str(data), tmp_path / "history")
    assert (found["rows"], found["rows_quarantined"]) == (378.0, 2.0)
    assert found["steps_changed"] == 1  # what was set aside are sales that training saw


def test_data_that_break_the_contract_as_a_whole_write_nothing(tmp_path, data):
    pl.read_csv(data / "sales.csv").rename({"units": "pieces"}).write_csv(data / "sales.csv")
    with pytest.raises((ContractError, DataError), match="units"):
        history_from_sources(bundle("shop"), str(data), tmp_path / "history")
    assert not (tmp_path / "history").exists()


def test_an_altered_bundle_or_snapshot_is_refused(tmp_path, data):
    taken = snapshot_of(data, tmp_path / "snapshot")
    (taken / "sales.parquet").write_bytes((taken / "sales.parquet").read_bytes() + b" ")
    with pytest.raises(IntegrityError, match=r"'sales\.parquet' was changed"):
        update_history(bundle("shop"), taken, tmp_path / "history")
    spoilt = copy("shop", tmp_path / "bundle")
    (spoilt / "problem.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"'problem\.json' was changed"):
        history_from_sources(spoilt, str(data), tmp_path / "history")
    with pytest.raises(IntegrityError, match="expected a snapshot in"):
        update_history(bundle("shop"), bundle("shop"), tmp_path / "history")


def test_only_a_history_table_or_an_empty_folder_is_replaced(tmp_path, data):
    own = copy("shop", tmp_path / "bundle")
    with pytest.raises(UsageError, match="is neither an empty folder nor a history table"):
        history_from_sources(own, str(data), own)
    assert contents(own) == contents(bundle("shop"))
    (tmp_path / "history").mkdir()
    history_from_sources(own, str(data), tmp_path / "history")
    first = contents(tmp_path / "history")
    write_sales(all_sales(10), data)
    history_from_sources(own, str(data), tmp_path / "history")
    assert contents(tmp_path / "history") != first
    with pytest.raises(UsageError, match="expected 1 or more steps"):
        history_from_sources(own, str(data), tmp_path / "history", steps=-1)


def test_a_people_model_has_no_history_to_update(tmp_path):
    rows = pl.DataFrame({"age": [20], "plan": ["basic"], "note": ["a"], "stays": ["yes"]})
    (tmp_path / "data").mkdir()
    rows.write_csv(tmp_path / "data/members.csv")
    with pytest.raises(UsageError, match="the features of 'people' look at nothing but the row"):
        history_from_sources(bundle("people"), str(tmp_path / "data"), tmp_path / "history")


def later_rows(path):
    """Write the rows of the last newer days as a caller would, without what is to be predicted."""
    write_sales(take(later_sales(), slice(60, None)), path.parent / "asked")
    pl.read_csv(path.parent / "asked/sales.csv").drop("units").write_csv(path)
    return path


def test_a_file_of_rows_is_predicted_with_the_history(tmp_path, data):
    history_from_sources(bundle("shop"), str(data), tmp_path / "history")
    asked = later_rows(tmp_path / "rows.csv")
    predict_file(bundle("shop"), asked, tmp_path / "new.parquet", history=tmp_path / "history")
    predict_file(bundle("shop"), asked, tmp_path / "old.parquet")
    new, old = (pl.read_parquet(tmp_path / f"{name}.parquet")["prediction"] for name in ("new", "old"))
    loaded = load_history(tmp_path / "history", Bundle.load(bundle("shop")))
    expected = loaded.predict(take(later_sales(), slice(60, None)))
    assert np.array_equal(new.to_numpy(), expected)
    assert not new.equals(old)


def test_the_component_writes_a_table_and_its_counts(tmp_path, data):
    taken, metrics = snapshot_of(data, tmp_path / "snapshot"), Metrics(tmp_path / "metrics")
    out = Artifact(tmp_path / "history")
    about = {"bundle": Artifact(bundle("shop")), "snapshot": Artifact(taken), "summary": metrics}
    update_component.python_func(**about, history=out, steps=3)
    assert metrics.values == MADE
    table = HistoryTable.open(Path(out.path))
    assert table.steps == 3 + Bundle.load(bundle("shop")).plan.needed_steps


def test_the_command_makes_a_table_and_says_what_it_is(tmp_path, data, capsys):
    out = tmp_path / "history"
    command = ["models", "history", str(bundle("shop")), "--data", str(data), "--out", str(out)]
    assert main(command) == 0
    shown = capsys.readouterr()
    identity = HistoryTable.open(out).id
    assert shown.out.splitlines() == [
        f"{out}: history up to 2020-06-28, steps added: 20, rows: 380",
        f"history {identity}",
    ]
    assert "UNSIGNED" in shown.err
    assert "contradict" not in shown.err
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["id"], found["rows"], found["steps_added"], found["out"]) == (identity, 380, 20, str(out))
    assert main(["models", "history", str(out)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (lines["id"], lines["last"], lines["rows"]) == (identity, "2020-06-28", "380")
    assert main(["models", "history", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["members"] == {"store": 4}


def test_the_command_shows_what_a_bundle_looks_back_at(capsys):
    assert main(["models", "history", str(bundle("shop")), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["last"], found["members"]) == ("2020-06-08", {"store": 3})
    assert main(["models", "history", str(bundle("people")), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 0


def test_a_contradiction_is_a_note_and_the_table_is_made(tmp_path, data, capsys):
    edit(data, "units", 999.0)
    command = ["models", "history", str(bundle("shop")), "--data", str(data), "--out", str(tmp_path / "h")]
    assert main([*command, "--json"]) == 0
    shown = capsys.readouterr()
    assert (
        "warning: the data contradict the bundle's own history: steps with other values: 1 (2020-06-01);"
        " members of store with other values: 1. Features follow the data" in shown.err
    )
    assert json.loads(shown.out)["steps_changed"] == 1
    assert main(["models", "history", str(tmp_path / "h")]) == 0
    assert "2020-06-01" in capsys.readouterr().out


def test_exit_codes_tell_wrong_use_from_refused_data(tmp_path, data, capsys):
    command = ["models", "history", str(bundle("shop"))]
    out = ["--out", str(tmp_path / "h")]
    assert main([*command, *out]) == 2
    assert main([*command, "--data", str(data)]) == 2
    assert main([*command, "--data", str(data), "--snapshot", str(tmp_path), *out]) == 2
    assert main(["models", "history", "nobody@champion", "--data", str(data), *out]) == 2
    write_sales(take(all_sales(0), slice(0, 270)), data)
    capsys.readouterr()
    assert main([*command, "--data", str(data), *out]) == 4
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "expected a history up to 2020-06-08 or later" in shown.err
    assert "Traceback" not in shown.err
    assert main([*command, "--snapshot", str(tmp_path / "none"), *out]) == 4
    assert main(["models", "history", str(tmp_path)]) == 4


def test_predict_takes_the_history_on_the_command_line(tmp_path, data, capsys):
    history_from_sources(bundle("shop"), str(data), tmp_path / "h")
    asked, out = later_rows(tmp_path / "rows.csv"), tmp_path / "p.csv"
    command = ["models", "predict", str(bundle("shop")), "--data", str(asked), "--out", str(out)]
    assert main(command) == 0
    before = out.read_text()
    assert main([*command, "--history", str(tmp_path / "h")]) == 0
    assert out.read_text() != before
    (tmp_path / "h/features/panel0.npy").write_bytes(b"x")
    assert main([*command, "--history", str(tmp_path / "h")]) == 4
    assert "'features/panel0.npy' was changed" in capsys.readouterr().err
