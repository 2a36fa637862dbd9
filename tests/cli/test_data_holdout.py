"""`cd4ml data holdout`: looks, budget, and a fresh holdout."""

import json

import pytest

from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY
from cd4ml.cli.main import main
from cd4ml.problem import HoldoutBudget
from tests.adapters.s3_server import environment
from tests.steps.looks import Bakery


@pytest.fixture
def bakery(tmp_path):
    with environment(
        CD4ML_STORE=str(tmp_path / "store"), CD4ML_ACTOR="ann", **{SIGNING_KEY: None, VERIFY_KEY: None}
    ):
        yield Bakery(tmp_path, holdout_budget=HoldoutBudget(warn_looks=3, max_looks=4))


def test_show_counts_looks_and_says_who_looked_and_what_the_limits_are(bakery, capsys):
    assert main(["data", "holdout", "show"]) == 0
    assert "no holdout was looked at yet" in capsys.readouterr().out
    for model in ("m1", "m2", "m2"):
        bakery.look(model)
    assert main(["data", "holdout", "show", "bakery"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0][:3] == ["holdout", "problems", "rows"]
    assert rows[1][1:9] == ["bakery", "28", "2025-04-17T00:00:00", "2025-04-30T00:00:00", "2", "0", "3", "4"]
    assert rows[-1][1:3] == ["ann", "bakery"]
    assert main(["data", "holdout", "show", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["own"], len(found["seen"]), found["seen"][0]["by"]) == (2, 2, "ann")
    assert main(["data", "holdout", "show", "--holdout", found["holdout"][:8]]) == 0


def test_show_of_nothing_is_exit_code_2(bakery, capsys):
    assert main(["data", "holdout", "show", "patisserie"]) == 2
    assert "no holdout of 'patisserie' was looked at yet" in capsys.readouterr().err
    assert main(["data", "holdout", "show", "--holdout", "ffff"]) == 2


def test_refresh_refuses_the_same_rows_and_takes_new_ones(bakery, capsys):
    whole = (bakery.sources / "sales.csv").read_text()
    bakery.cut(14)
    bakery.snapshot = bakery.take("old")
    bakery.look("m1")
    why = ["--reason", "a new fortnight"]
    assert main(["data", "holdout", "refresh", bakery.yaml, *why]) == 3
    shown = capsys.readouterr().err
    assert "the same 28 rows, looked at 1 times" in shown
    (bakery.sources / "sales.csv").write_text(whole)
    assert main(["data", "holdout", "refresh", bakery.yaml, "--data", str(bakery.sources)]) == 2
    assert "a fresh holdout needs a --reason" in capsys.readouterr().err
    assert main(["data", "holdout", "refresh", bakery.yaml, "--data", str(bakery.sources), *why]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("bakery: holdout ")
    assert "28 rows, 0 of 50 looks spent" in shown.out
    assert "UNSIGNED" in shown.err
    assert main(["data", "holdout", "show", "bakery", "--json"]) == 0
    assert [one["own"] for one in json.loads(capsys.readouterr().out)] == [1, 0]
    assert main(["audit", "list", "--kind", "holdout_refresh", "--json"]) == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert (line["by"], line["facts"]["reason"]) == ("ann", "a new fortnight")
