"""Whole runs on a small shop: what they leave, when they work again, and what stops them."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path

import pytest

from tests.loop.small_shop import CLASSIFICATION, command, registered, run, sales, sold_out, write_shop

pytestmark = pytest.mark.xdist_group("small_runs")


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A place with shop/, out/ and store/ after one accepted run."""
    place = tmp_path_factory.mktemp("small") / "first"
    write_shop(place / "shop")
    done = run(place / "shop", place / "out", place / "store")
    assert done.returncode == 0, done.stdout + done.stderr
    return place, done


def test_an_accepted_run_is_registered_and_says_where_its_report_lies(finished):
    place, done = finished
    assert "small-shop: ACCEPTED" in done.stdout
    assert f"Report: {place / 'out/report.html'}" in done.stdout
    (version,) = registered(place / "store")
    assert version["bundle"] == _read(place / "out/verdict.json")["subject"]["bundle"]
    assert "<script src" not in (place / "out/report.html").read_text(encoding="utf-8")


def test_rows_in_are_rows_used_and_set_aside_and_filtered(finished):
    place, _ = finished
    gates = {gate["name"]: gate for gate in _read(place / "out/verdict.json")["gates"]}
    assert "900 rows in: 900 used, 0 quarantined, 0 filtered" in gates["contract"]["reason"]


@pytest.mark.loop
def test_a_run_in_a_moved_place_with_one_value_changed_is_a_new_snapshot_and_a_new_run(finished):
    place, _ = finished
    shop, out, store = place / "shop", place / "out", place / "store"
    before = _read(out / "verdict.json")["subject"]
    copy = place.parent / "changed-shop"
    shutil.copytree(shop, copy)
    lines = (copy / "sales.csv").read_text().splitlines()
    cells = lines[5].split(",")
    lines[5] = ",".join([*cells[:3], str(int(cells[3]) + 1), cells[4]])
    write_shop(copy, lines)
    other = place.parent / "changed-out"
    shutil.copytree(out, other)
    done = run(copy, other, store)
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = _read(other / "verdict.json")
    assert verdict["subject"]["snapshot"] != before["snapshot"]
    assert "data" in verdict["changed"] and "problem" not in verdict["changed"]
    runs = json.loads(command("runs", "list", "--json", store=store).stdout)
    assert len(runs) == len({one["id"] for one in runs}) == 2
    listed = json.loads(command("data", "list", "--json", store=store).stdout)
    assert {before["snapshot"], verdict["subject"]["snapshot"]} <= {one["id"] for one in listed}


def test_an_unchanged_run_does_no_work(finished):
    place, _ = finished
    before = (place / "out/run.json").stat().st_mtime_ns
    done = run(place / "shop", place / "out", place / "store")
    assert done.returncode == 0
    assert done.stdout.startswith("Nothing changed since run ")
    assert (place / "out/run.json").stat().st_mtime_ns == before


def test_an_altered_result_is_made_again_from_the_tasks_that_are_done(finished):
    place, _ = finished
    model = place / "out/bundle/model.onnx"
    whole = model.read_bytes()
    model.write_bytes(whole[:-1] + b"\0")
    done = run(place / "shop", place / "out", place / "store")
    assert done.returncode == 0, done.stderr
    assert "Nothing changed" not in done.stdout
    assert "cached" in done.stderr
    assert model.read_bytes() == whole


def test_a_rejected_model_is_reported_and_not_registered(tmp_path):
    shop = write_shop(tmp_path / "shop")
    problem = shop / "problem.yaml"
    text = problem.read_text().replace("baseline_margin_fraction: 0.02", "baseline_margin_fraction: 0.9")
    problem.write_text(text)
    done = run(shop, tmp_path / "out", tmp_path / "store")
    assert done.returncode == 3, done.stdout + done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "rejected by baseline:week_before:mae" in error
    assert (tmp_path / "out/report.html").exists()
    assert registered(tmp_path / "store") == []


@pytest.mark.loop
def test_a_classification_ends_with_machine_readable_words_alone(tmp_path):
    shop = write_shop(tmp_path / "shop", sold_out(sales()))
    (shop / "problem.yaml").write_text(CLASSIFICATION)
    # kfp rewrites the word python3 inside of its commands: a folder may have it in its name all the same.
    given = ("--data", shop, "--out", tmp_path / "python3/out", "--json")
    done = command("run", shop / "problem.yaml", *given, store=tmp_path / "store")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["decision"] == "accept" and not found["unchanged"]
    assert found["registered"]["name"] == "small-sellout"
    assert 0.5 < found["metrics"]["roc_auc"]["estimate"] <= 1


def test_two_runs_do_not_share_a_folder(tmp_path):
    shop = write_shop(tmp_path / "shop")
    (tmp_path / "out").mkdir()
    with (tmp_path / "out/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run(shop, tmp_path / "out", tmp_path / "store")
    assert done.returncode == 2
    assert "another run is at work" in done.stderr


def test_a_file_cannot_hold_a_run(tmp_path):
    shop = write_shop(tmp_path / "shop")
    (tmp_path / "file").write_text("")
    done = run(shop, tmp_path / "file", tmp_path / "store")
    assert done.returncode == 2
    assert "--out must be a folder" in done.stderr and "Traceback" not in done.stderr


def test_an_unknown_problem_is_named_with_its_nearest(tmp_path):
    done = command("run", "bike-demnd", "--data", tmp_path, "--out", tmp_path / "out", store=tmp_path)
    assert done.returncode == 2
    assert "bike-demand" in done.stderr
