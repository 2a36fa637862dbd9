"""`cd4ml runs`: list, show, compare, trend."""

import json

import pytest

from cd4ml.adapters.runs import RunStore
from cd4ml.adapters.storage import FolderStorage
from cd4ml.cli.main import main
from tests.adapters.s3_server import environment


def record(number, **other):
    return {
        "id": f"2026010{number}T120000Z-aaaa000{number}",
        "problem": "shop",
        "started": f"2026-01-0{number}T12:00:00+00:00",
        "seconds": 10.5,
        "decision": "accept",
        "metrics": {"wape": {"estimate": 0.5 - number / 10, "low": 0.01, "high": 0.6}},
        "snapshot": "5" * 64,
        "git": {"commit": "abcdef0123456789", "branch": "main"},
        **other,
    }


@pytest.fixture(autouse=True)
def store(tmp_path):
    found = RunStore(FolderStorage(tmp_path / "store"))
    with environment(CD4ML_STORE=str(tmp_path / "store")):
        yield found


@pytest.fixture
def two(store):
    store.save(record(1))
    store.save(record(2, git={"commit": "fedcba98+changes", "branch": "trial"}, decision="reject"))
    return store


def test_list_shows_commit_and_branch_the_newest_first(two, capsys):
    assert main(["runs", "list"]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "problem", "started", "decision", "commit", "branch", "seconds"]
    assert first.split()[3:] == ["reject", "fedcba98+changes", "trial", "10.5"]
    assert second.split()[3:] == ["accept", "abcdef01", "main", "10.5"]


def test_list_is_narrowed_by_branch_problem_and_limit(two, capsys):
    assert main(["runs", "list", "--branch", "main", "--problem", "shop", "--json"]) == 0
    assert [run["id"] for run in json.loads(capsys.readouterr().out)] == ["20260101T120000Z-aaaa0001"]
    assert main(["runs", "list", "--limit", "1", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert main(["runs", "list", "--limit", "0"]) == 2


def test_an_empty_store_says_what_to_do(capsys):
    assert main(["runs", "list"]) == 0
    assert "make one with 'cd4ml run PROBLEM'" in capsys.readouterr().out
    assert main(["runs", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["runs", "show"]) == 2


def test_a_run_without_a_repository_is_listed_too(store, capsys):
    store.save(record(1, git={"commit": "", "branch": ""}))
    store.save({"id": "bare"})
    assert main(["runs", "list"]) == 0
    assert [line.split()[-2] for line in capsys.readouterr().out.splitlines()[1:]] == ["-", "-"]


def test_show_gives_ids_whole(two, capsys):
    assert main(["runs", "show", "20260101"]) == 0
    assert "5" * 64 in capsys.readouterr().out
    assert main(["runs", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decision"] == "reject"


def test_compare_shows_what_differs(two, capsys):
    assert main(["runs", "compare", "20260101", "latest"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["what", "20260101", "latest"]
    assert ["decision", "accept", "reject"] in [line.split() for line in lines]
    assert main(["runs", "compare", "latest", "latest"]) == 0
    assert "do not differ" in capsys.readouterr().out
    assert main(["runs", "compare", "20260101", "latest", "--json"]) == 0
    assert {"name": "git.branch", "values": ["main", "trial"]} in json.loads(capsys.readouterr().out)
    assert main(["runs", "compare", "latest"]) == 2


def test_the_latest_runs_of_two_branches_are_compared(two, capsys):
    two.save(record(3, git={"commit": "00112233", "branch": "feature/x@2"}))
    assert main(["runs", "compare", "latest@main", "latest@trial", "--json"]) == 0
    assert {"name": "git.branch", "values": ["main", "trial"]} in json.loads(capsys.readouterr().out)
    assert main(["runs", "show", "latest@feature/x@2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["git"]["commit"] == "00112233"
    assert main(["runs", "show", "latest@trail"]) == 2
    assert "no runs of the branch 'trail'; did you mean 'trial'?" in capsys.readouterr().err
    assert main(["runs", "show", "latest@"]) == 2
    assert "there is no run 'latest@'" in capsys.readouterr().err


def test_trend_shows_bars_and_a_table_with_commits(two, capsys):
    assert main(["runs", "trend", "wape", "--problem", "shop"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "wape of shop: █▁  0.3 to 0.4"
    assert lines[2].split() == ["time", "commit", "branch", "wape", "low", "high"]
    assert lines[3].split() == ["2026-01-01T12:00:00+00:00", "abcdef01", "main", "0.4", "0.01", "0.6"]
    assert main(["runs", "trend", "wape", "-p", "shop", "-b", "trial", "--json"]) == 0
    assert [point["branch"] for point in json.loads(capsys.readouterr().out)] == ["trial"]


def test_trend_draws_a_page(two, capsys, tmp_path):
    page = tmp_path / "pages/trend.html"
    assert main(["runs", "trend", "wape", "-p", "shop", "--out", str(page), "--json"]) == 0
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)) == 2
    assert str(page) in shown.err
    html = page.read_text()
    assert "<svg" in html
    assert "20260102T120000Z-aaaa0002" in html
    assert main(["runs", "trend", "wape", "-p", "shop", "--out", str(tmp_path)]) == 2
    assert "--out must be a file" in capsys.readouterr().err


def test_a_metric_that_nobody_measured_is_one_line(two, capsys):
    assert main(["runs", "trend", "wpe", "--problem", "shop"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert "did you mean 'wape'" in shown.err
