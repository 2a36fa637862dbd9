"""Components for a model in use, run in kfp.local behind an importer, as other pipelines use them."""

import json

import numpy as np
import polars as pl
import pytest
from kfp import compiler, dsl

from cd4ml.adapters.kubeflow import run_local
from cd4ml.models.history import HistoryTable
from cd4ml.models.runtime import holdout_rows
from cd4ml.steps.snapshot import take_snapshot
from components.delivery.predict.component import predict
from components.delivery.update_history.component import update_history
from components.evaluation.verify_endpoint.component import verify_endpoint
from tests.models.bundles import bundle
from tests.models.live_server import serve
from tests.models.newer_sales import all_sales, write_sales

pytestmark = pytest.mark.xdist_group("kubeflow")


def test_a_model_is_imported_its_endpoint_judged_and_a_file_predicted(tmp_path):
    folder, data = bundle("people"), tmp_path / "rows.parquet"
    pl.DataFrame(holdout_rows(folder), infer_schema_length=None).write_parquet(data)

    @dsl.pipeline(name="in-use")
    def in_use(url: str, data: str):
        model = dsl.importer(artifact_uri=str(folder), artifact_class=dsl.Model)
        judged = verify_endpoint(bundle=model.output, url=url, protocol="v2")
        predict(bundle=model.output, data=data).after(judged)

    compiler.Compiler().compile(in_use, str(tmp_path / "in_use.yaml"))
    with serve(folder) as live:
        run = run_local(tmp_path / "in_use.yaml", {"url": live.url, "data": str(data)}, tmp_path / "out")
    assert json.loads(run.path("verify-endpoint", "found").read_text())["agrees"]
    assert run.task("verify-endpoint").metadata["agreement"]["rows"] == 100
    found = pl.read_parquet(run.path("predict", "predictions"))["prediction"].to_numpy()
    assert np.array_equal(found.astype(np.float32), np.load(folder / "holdout/prediction.npy"))
    assert run.task("predict").metadata["summary"]["rows"] == 100


def test_a_history_table_is_made_of_a_snapshot(tmp_path):
    folder, taken = bundle("shop"), tmp_path / "snapshot"
    data = write_sales(all_sales(), tmp_path / "data")
    problem, store = folder / "problem.json", str(tmp_path / "store")
    take_snapshot(problem, str(data), store, taken, tmp_path / "profile.html")

    @dsl.pipeline(name="newer")
    def newer():
        found = dsl.importer(artifact_uri=str(folder), artifact_class=dsl.Model)
        rows = dsl.importer(artifact_uri=str(taken), artifact_class=dsl.Dataset)
        update_history(bundle=found.output, snapshot=rows.output)

    compiler.Compiler().compile(newer, str(tmp_path / "newer.yaml"))
    run = run_local(tmp_path / "newer.yaml", {}, tmp_path / "out")
    assert HistoryTable.open(run.path("update-history", "history")).last == "2020-06-28"
    assert run.task("update-history").metadata["summary"]["steps_added"] == 20
