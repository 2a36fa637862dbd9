"""Outcomes are added by id or by what was asked, whole or not at all."""

import json
from pathlib import Path

import pytest

from cd4ml.adapters.outcome_log import OutcomeLog
from cd4ml.cli.main import main
from cd4ml.delivery.evidence.local import outcomes_folder
from cd4ml.errors import DataError, NotFoundError, UsageError
from cd4ml.steps.outcomes import Added, add_outcomes
from tests.delivery.evidence.traffic import SERVICE, Traffic


@pytest.fixture
def root(tmp_path: Path) -> Path:
    traffic = Traffic(tmp_path)
    traffic.event("a", "stable", [1.0, 2.0], {"store": 1, "open": True})
    traffic.event("a", "shadow", [1.5, 2.5], {"store": 1, "open": True})
    traffic.event("b", "canary", [3.0], {"store": "2", "open": False})
    return tmp_path


def known(root: Path) -> dict[tuple[str, int], float]:
    return {one.key: one.actual for one in OutcomeLog(outcomes_folder(root, SERVICE)).read()}


def write(root: Path, text: str, name: str = "actuals.csv") -> Path:
    path = root / name
    path.write_text(text)
    return path


def test_outcomes_by_id_and_row_are_added_and_read(root: Path) -> None:
    file = write(root, "id,row,actual\na,0,5\na,1,6.5\n")
    assert add_outcomes(root, SERVICE, file) == Added(2, 2, 0)
    assert known(root) == {("a", 0): 5.0, ("a", 1): 6.5}


def test_outcomes_by_inputs_are_those_of_each_prediction_of_them(root: Path) -> None:
    file = write(root, "store,open,actual\n1,true,5\n2,false,7\n3,true,9\n")
    assert add_outcomes(root, SERVICE, file) == Added(3, 3, 1)
    assert known(root) == {("a", 0): 5.0, ("a", 1): 5.0, ("b", 0): 7.0}


def test_the_command_prints_json_and_reads_json_lines(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(root, '{"store": 1.0, "actual": 5}\n\n', "more.jsonl")
    options = ["--service", SERVICE, "--data", str(file), "--state", str(root), "--json"]
    assert main(["outcomes", "add", *options]) == 0
    assert json.loads(capsys.readouterr().out) == {"outcomes": 2, "rows": 1, "unmatched": 0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,row,actual\na,0,5\na,1,many\n", ":3: expected a number in 'actual'; found 'many'"),
        ("id,row,actual\na,x,5\n", ":2: expected a whole number in 'row'"),
        ("id,row\na,0\n", "found 'no such column'"),
        ("actual\n5\n", "expected 'id', or inputs"),
    ],
)
def test_a_row_that_is_wrong_is_named_and_nothing_is_added(root: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said.replace("'", ".")):
        add_outcomes(root, SERVICE, write(root, text))
    assert known(root) == {}


def test_what_is_not_finite_and_what_has_no_id_is_refused(root: Path) -> None:
    for text in ("id,actual\na,nan\n", "id,actual\n,5\n"):
        with pytest.raises(UsageError, match="a finite actual value"):
            add_outcomes(root, SERVICE, write(root, text))
    assert known(root) == {}


def test_a_service_without_predictions_and_a_missing_file_are_refused(root: Path) -> None:
    with pytest.raises(NotFoundError, match="no predictions of 'shap'; did you mean 'shop'"):
        add_outcomes(root, "shap", root / "x.csv")
    with pytest.raises(UsageError, match="there is no file"):
        add_outcomes(root, SERVICE, root / "x.csv")
