"""Predictions for a file of rows."""

import json

import numpy as np
import polars as pl
import pytest

from cd4ml.cli.main import main
from cd4ml.errors import DataError, SourceError, UsageError
from cd4ml.models.runtime import Bundle, holdout_rows
from cd4ml.steps.predict import predict_file
from components.delivery.predict.component import predict
from tests.models.bundles import bundle
from tests.steps.test_endpoint import Artifact, Metrics


def frame(name):
    """Return a bundle's holdout rows as a frame of texts and numbers."""
    return pl.DataFrame(holdout_rows(bundle(name)), infer_schema_length=None)


def typed(name):
    found = frame(name)
    if name == "people":
        return found
    return found.with_columns(
        pl.col("day").str.to_date(), pl.col("opened").str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us")
    )


def recorded(name, output="prediction"):
    return np.load(bundle(name) / f"holdout/{output}.npy")


def write(found, path):
    found.write_parquet(path) if path.suffix == ".parquet" else found.write_csv(path)
    return path


def read(path):
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)


@pytest.mark.parametrize("target", ["csv", "parquet"])
@pytest.mark.parametrize("source", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["shop", "people"])
def test_predictions_of_the_holdout_are_those_that_were_judged(tmp_path, name, source, target):
    made = typed(name) if source == "parquet" else frame(name)
    data = write(made, tmp_path / f"rows.{source}")
    out = tmp_path / f"out/predictions.{target}"
    found = predict_file(bundle(name), data, out, chunk_rows=7)
    written = read(out)
    assert found["rows"] == written.height == made.height
    assert np.array_equal(written["prediction"].to_numpy().astype(np.float32), recorded(name))
    assert found["mean_prediction"] == pytest.approx(recorded(name).mean(), rel=1e-6)
    outputs = ["prediction", "quantile"] if name == "shop" else ["prediction"]
    assert written.columns == [*made.columns, *outputs]
    if name == "shop":
        assert np.array_equal(written["quantile"].to_numpy().astype(np.float32), recorded(name, "quantile"))


@pytest.mark.parametrize("chunk_rows", [1, 13, 1000])
def test_the_size_of_chunks_changes_nothing(tmp_path, chunk_rows):
    data = write(typed("shop"), tmp_path / "rows.parquet")
    predict_file(bundle("shop"), data, tmp_path / "a.csv", chunk_rows=chunk_rows)
    predict_file(bundle("shop"), data, tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_shuffled_rows_and_columns_of_others_stay_beside_their_predictions(tmp_path):
    order = np.random.Generator(np.random.PCG64(1)).permutation(100)
    made = frame("people").with_columns(pl.Series("key", np.arange(100)), name=pl.lit("x"))[order]
    predict_file(bundle("people"), write(made, tmp_path / "r.parquet"), tmp_path / "p.parquet", chunk_rows=9)
    written = pl.read_parquet(tmp_path / "p.parquet")
    assert written.drop("prediction").equals(made)
    assert np.array_equal(written["prediction"].to_numpy().astype(np.float32), recorded("people")[order])


def test_the_contracts_limit_of_rows_is_for_requests(tmp_path):
    made = pl.concat([frame("people")] * 3)
    assert Bundle.load(bundle("people")).contract["max_rows"] < 300
    found = predict_file(bundle("people"), write(made, tmp_path / "r.csv"), tmp_path / "p.csv")
    assert found["rows"] == 300


def test_a_column_that_may_be_null_may_be_left_out(tmp_path):
    made = frame("shop").drop("price")
    predict_file(bundle("shop"), write(made, tmp_path / "r.csv"), tmp_path / "p.parquet")
    rows = [{**row, "price": None} for row in holdout_rows(bundle("shop"))]
    expected = Bundle.load(bundle("shop")).predict_rows(rows)["prediction"]
    assert np.array_equal(pl.read_parquet(tmp_path / "p.parquet")["prediction"].to_numpy(), expected)


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("age", "old", "row 61: field 'age' must be a whole number from 0 up to 120; found 'old'"),
        ("age", "121", "row 61: field 'age' must be a whole number from 0 up to 120; found 121"),
        ("age", "", "row 61: field 'age' must be .*; found null"),
        ("age", "1.5", "row 61: field 'age' must be .*; found '1.5'"),
        ("plan", "bassic", "row 61: field 'plan' must be .*; did you mean 'basic'"),
    ],
)
def test_a_row_that_breaks_the_contract_is_named_and_nothing_is_written(tmp_path, column, value, told):
    made = frame("people").with_columns(pl.col("age").cast(pl.String), pl.col("note").fill_null(""))
    texts = made[column].to_list()
    texts[61] = value
    data = write(made.with_columns(pl.Series(column, texts)), tmp_path / "r.csv")
    with pytest.raises(DataError, match=rf"r\.csv: {told}"):
        predict_file(bundle("people"), data, tmp_path / "out/p.csv", chunk_rows=10)
    assert list((tmp_path / "out").iterdir()) == []


def test_values_of_another_type_are_refused_in_parquet_too(tmp_path):
    made = frame("people").with_columns(age=pl.col("age") + 0.5)
    with pytest.raises(DataError, match=r"row 0: field 'age' must be a whole number.*; found \d+\.5"):
        predict_file(bundle("people"), write(made, tmp_path / "r.parquet"), tmp_path / "p.csv")


def test_nan_is_no_value_and_categories_are_texts(tmp_path):
    made = typed("shop").with_columns(
        pl.col("price").fill_null(float("nan")), pl.col("store").cast(pl.Categorical)
    )
    predict_file(bundle("shop"), write(made, tmp_path / "r.parquet"), tmp_path / "p.parquet", chunk_rows=11)
    written = pl.read_parquet(tmp_path / "p.parquet")
    assert np.array_equal(written["prediction"].to_numpy().astype(np.float32), recorded("shop"))


def test_a_missing_column_is_named_even_where_there_are_no_rows(tmp_path):
    data = write(frame("people").head(0).rename({"plan": "plans"}), tmp_path / "r.csv")
    with pytest.raises(DataError, match=r"expected a column 'plan'; found .*; did you mean 'plans'"):
        predict_file(bundle("people"), data, tmp_path / "p.csv")


def test_a_file_without_rows_is_refused(tmp_path):
    data = write(frame("people").head(0), tmp_path / "r.csv")
    with pytest.raises(DataError, match="expected rows to predict for; found none"):
        predict_file(bundle("people"), data, tmp_path / "p.csv")
    assert not (tmp_path / "p.csv").exists()


def test_a_row_with_too_many_values_is_named(tmp_path):
    data = write(frame("people").drop("note"), tmp_path / "r.csv")
    data.write_text(data.read_text() + "1,basic,more\n")
    with pytest.raises(SourceError, match="row 100: expected 2 values; found 3"):
        predict_file(bundle("people"), data, tmp_path / "p.csv")


def test_what_cannot_be_is_refused(tmp_path):
    data = write(frame("people"), tmp_path / "r.csv")
    with pytest.raises(UsageError, match=r"a \.csv or \.parquet file; found 'p\.json'"):
        predict_file(bundle("people"), data, tmp_path / "p.json")
    with pytest.raises(UsageError, match="another file for predictions"):
        predict_file(bundle("people"), data, data)
    with pytest.raises(UsageError, match="1 row or more"):
        predict_file(bundle("people"), data, tmp_path / "p.csv", chunk_rows=0)
    with pytest.raises(SourceError, match=r"found no '.*none\.csv'"):
        predict_file(bundle("people"), tmp_path / "none.csv", tmp_path / "p.csv")
    taken = write(frame("people").with_columns(prediction=1), tmp_path / "taken.csv")
    with pytest.raises(DataError, match="no column 'prediction'"):
        predict_file(bundle("people"), taken, tmp_path / "p.csv")
    lists = write(frame("people").with_columns(tags=pl.concat_list("plan")), tmp_path / "lists.parquet")
    with pytest.raises(UsageError, match="'tags' holds lists"):
        predict_file(bundle("people"), lists, tmp_path / "p.csv")
    predict_file(bundle("people"), lists, tmp_path / "p.parquet")


def test_the_command_says_how_many_rows_and_where(tmp_path, capsys):
    data, out = write(frame("people"), tmp_path / "r.csv"), tmp_path / "p.csv"
    command = ["models", "predict", str(bundle("people")), "--data", str(data), "--out", str(out)]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{out}: 100 rows, mean prediction 0.")
    assert "UNSIGNED" in shown.err
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["out"]) == (100, str(out))
    data.write_text(data.read_text().replace("basic", "base"))
    assert main(command) == 4
    assert "did you mean 'basic'" in capsys.readouterr().err


def test_the_component_writes_a_file_of_the_form_that_is_asked_for(tmp_path):
    data, metrics = write(frame("people"), tmp_path / "r.csv"), Metrics(tmp_path / "metrics")
    out = Artifact(tmp_path / "predictions")
    about = {"bundle": Artifact(bundle("people")), "data": str(data), "summary": metrics}
    predict.python_func(**about, predictions=out)
    assert np.array_equal(
        pl.read_parquet(out.path)["prediction"].to_numpy().astype(np.float32), recorded("people")
    )
    assert metrics.values["rows"] == 100.0
    predict.python_func(**about, predictions=out, form="csv")
    assert pl.read_csv(out.path).height == 100
