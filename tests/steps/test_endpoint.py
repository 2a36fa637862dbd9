"""The endpoint judge as a step and on the command line, against a real server on loopback."""

import json

import pytest

from cd4ml.cli.main import main
from cd4ml.errors import GateRejected
from cd4ml.steps.endpoint import judge_endpoint
from components.evaluation.verify_endpoint.component import verify_endpoint
from tests.models.bundles import bundle
from tests.models.live_server import serve


class Metrics:
    """What is used of `kfp.dsl.Metrics`."""

    def __init__(self, path):
        self.path, self.values = str(path), {}

    def log_metric(self, metric, value):
        self.values[metric] = value


class Artifact:
    def __init__(self, path):
        self.path = str(path)


def off(_, outputs):
    return {name: [value + 1 for value in values] for name, values in outputs.items()}


def test_the_step_writes_what_it_found_and_returns_numbers(tmp_path):
    with serve(bundle("people")) as live:
        found = judge_endpoint(bundle("people"), live.url, "v2", 0, 5.0, tmp_path / "found.json")
    report = json.loads((tmp_path / "found.json").read_text())
    assert report["agrees"]
    assert report["batch_rows"] == 50  # as many as the contract takes
    assert found == {
        "rows": 100.0,
        "differing_rows": 0.0,
        "largest_difference": report["largest_difference"],
    }


def test_the_step_rejects_an_endpoint_that_serves_something_else_and_says_where(tmp_path):
    with serve(bundle("people")) as live:
        live.spoil = off
        with pytest.raises(
            GateRejected, match=r"differs for 100 of 100 holdout rows.*First row 0, asked alone"
        ):
            judge_endpoint(bundle("people"), live.url, "v1", 20, 5.0, tmp_path / "found.json")
    report = json.loads((tmp_path / "found.json").read_text())
    assert not report["agrees"]
    assert report["first"]["row"] == 0
    assert report["largest_difference"] == 1.0


def test_the_component_records_how_many_rows_were_compared(tmp_path):
    metrics = Metrics(tmp_path / "metrics")
    with serve(bundle("people")) as live:
        verify_endpoint.python_func(
            bundle=Artifact(bundle("people")),
            url=live.url,
            found=Artifact(tmp_path / "found"),
            agreement=metrics,
            batch_rows=25,
        )
    assert (metrics.values["rows"], metrics.values["differing_rows"]) == (100.0, 0.0)
    assert json.loads((tmp_path / "found").read_text())["batch_rows"] == 25


def test_verify_asks_the_endpoint_and_exits_as_it_answers(capsys):
    command = ["models", "verify", str(bundle("people")), "--endpoint"]
    with serve(bundle("people")) as live:
        assert main([*command, live.url, "--protocol", "v2", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["bundle"] == found["endpoint"]["bundle"]
        assert found["endpoint"]["agrees"]
        assert main([*command, live.url]) == 0
        shown = capsys.readouterr().out
        assert "as they were judged: prediction within 1e-05 of max(1, |y|)" in shown
        live.spoil = off
        assert main([*command, live.url, "--batch-rows", "10"]) == 3
        shown = capsys.readouterr()
        assert "First row 0, asked alone: prediction was judged as" in shown.err
        assert "Traceback" not in shown.err
        gone = live.url
    assert main([*command, gone]) == 6
    assert main([*command, gone, "--protocol", "v3"]) == 2
    assert "expected protocol v1 or v2; found 'v3'" in capsys.readouterr().err


def test_verify_without_an_endpoint_asks_nobody(capsys):
    assert main(["models", "verify", str(bundle("people")), "--json"]) == 0
    assert "endpoint" not in json.loads(capsys.readouterr().out)
