"""A server that follows a file swaps while it answers, and refuses what is not whole."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from cd4ml.adapters.served_file import Desired, Report, ServedFile
from cd4ml.features.fitting import refresh_state
from cd4ml.models.history import load_history, write_history
from cd4ml.models.runtime import Bundle, holdout_rows
from cd4ml.serving.following import Follower
from cd4ml.serving.predictor import BundlePredictor, Served
from tests.adapters.s3_server import environment
from tests.models.bundles import bundle, copy
from tests.models.newer_sales import all_sales
from tests.serving.model_server import Running, command, free_port, running
from tests.serving.versions import close, promised, rows, version

SECONDS = 90.0
NO_CHANGES = {"steps": 0, "first": "", "last": "", "series": [], "groups": [], "tables": []}


def want(name: str, generation: int) -> Desired:
    return Desired(str(version(name)), name, generation=generation)


def until(true: Any) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def file(tmp_path: Path) -> ServedFile:
    served = ServedFile(tmp_path / "served.json")
    served.write(want("a", 1))
    return served


@pytest.fixture
def model(file: ServedFile) -> BundlePredictor:
    return BundlePredictor("m", version("a"), version="a")


def only(file: ServedFile) -> Report:
    (report,) = file.reports()
    return report


def test_a_look_takes_what_is_asked_for_and_reports_it(file: ServedFile, model: BundlePredictor) -> None:
    follower = Follower(file, model)
    before = model.served
    follower.look()
    assert model.served is before  # it was in service already
    assert only(file) == Report(os.getpid(), 1, "a", before.bundle.id)
    file.write(want("b", 2))
    follower.look()
    assert (only(file).generation, only(file).version) == (2, "b")
    assert model.served.version == "b"


def test_a_refused_bundle_is_reported_and_the_one_before_stays(
    file: ServedFile, model: BundlePredictor, tmp_path: Path
) -> None:
    altered = copy("people", tmp_path / "altered")
    (altered / "contract.json").write_text("{}")
    follower = Follower(file, model)
    file.write(Desired(str(altered), "c", generation=2))
    follower.look()
    report = only(file)
    assert (report.generation, report.version) == (2, "a")
    assert "contract.json" in report.error
    assert "\n" not in report.error
    file.write(want("b", 3))
    follower.look()
    assert (only(file).version, only(file).error) == ("b", "")


def test_a_newer_history_changes_what_the_same_bundle_answers(file: ServedFile, tmp_path: Path) -> None:
    own = Bundle.load(bundle("shop"))
    state = refresh_state(own.plan, own.state, all_sales(), {})
    write_history(tmp_path / "history", own, state, snapshot="5" * 64, rows=9, changes=NO_CHANGES)
    model = BundlePredictor("shop", bundle("shop"), version="1")
    follower = Follower(file, model)
    asked = Desired(str(bundle("shop")), "1", str(tmp_path / "history"), 2)
    file.write(asked)
    follower.look()
    assert only(file) == Report(os.getpid(), 2, "1", own.id)
    expected = load_history(tmp_path / "history", own)
    rows_of_it = [dict(row) for row in holdout_rows(bundle("shop"))]
    found = model.served.bundle.predict_rows(rows_of_it)["prediction"]
    assert found.tolist() == expected.predict_rows(rows_of_it)["prediction"].tolist()
    assert model.metadata()["history"] == expected.history != ""
    history = tmp_path / "history" / "manifest.json"
    history.write_text(history.read_text() + " ")
    file.write(replace(asked, version="2", generation=3))
    follower.look()
    assert only(file).error
    assert model.served.version == "1"


@pytest.mark.parametrize("text", ["{", None], ids=["malformed", "missing"])
def test_a_file_that_says_nothing_changes_nothing(
    file: ServedFile, model: BundlePredictor, text: str | None
) -> None:
    follower = Follower(file, model)
    follower.look()
    file.path.unlink() if text is None else file.path.write_text(text)
    follower.look()
    assert "served.json" in only(file).error
    assert (only(file).generation, model.served.version) == (1, "a")


def test_a_version_that_is_no_header_is_refused(file: ServedFile, model: BundlePredictor) -> None:
    file.write(Desired(str(version("b")), "b\r\nSet-Cookie: x", generation=2))
    Follower(file, model).look()
    assert "expected a version" in only(file).error
    assert model.served.version == "a"


def test_it_follows_in_its_thread_and_its_report_goes_when_it_stops(
    file: ServedFile, model: BundlePredictor
) -> None:
    taken: list[Served] = []
    follower = Follower(file, model)
    follower.look()
    follower.start(taken.append)
    file.write(want("b", 2))
    until(lambda: only(file).generation == 2)
    follower.stop()
    assert [served.version for served in taken] == ["b"]
    assert file.reports() == []


def test_a_report_that_cannot_be_written_does_not_end_it(file: ServedFile, model: BundlePredictor) -> None:
    folder = file.path.with_name("served.json.workers")
    folder.write_text("in the way")
    follower = Follower(file, model)
    follower.look()
    folder.unlink()
    follower.look()
    assert only(file).version == "a"


def ask_until(done: threading.Event, server: Running, answers: list[tuple[int, str, Any]]) -> None:
    """Ask without a pause; note status, version of the header, and the document."""
    body = json.dumps({"instances": rows()}).encode()
    with requests.Session() as session:
        while not done.is_set():
            answer = session.post(f"{server.url}/v1/models/m:predict", data=body, timeout=30)
            answers.append((answer.status_code, answer.headers["X-Cd4ml-Version"], answer.json()))


@pytest.mark.serving
@pytest.mark.parametrize("workers", [1, 2])
def test_no_request_is_lost_or_wrong_while_versions_are_swapped(file: ServedFile, workers: int) -> None:
    done, answers = threading.Event(), list[tuple[int, str, Any]]()
    with running(None, "m", "--follow", str(file.path), "--workers", str(workers)) as server:
        until(lambda: len(file.reports()) == workers)
        clients = [threading.Thread(target=ask_until, args=(done, server, answers)) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            for generation, name in enumerate("babab", 2):
                file.write(want(name, generation))
                until(lambda now=generation: {report.generation for report in file.reports()} == {now})
        finally:
            done.set()
            for client in clients:
                client.join()
        assert [report.version for report in file.reports()] == ["b"] * workers
        assert server.stop() == 0
    assert not close(promised("a"), promised("b"))
    assert {name for _, name, _ in answers} == {"a", "b"}
    assert len(answers) > 100
    for status, name, document in answers:
        assert status == 200
        assert document["model_version"] == name
        assert close(document["predictions"], promised(name))
    assert file.reports() == []


@pytest.mark.serving
def test_a_worker_that_is_killed_starts_again_with_the_newest_version(file: ServedFile) -> None:
    with running(None, "m", "--follow", str(file.path), "--workers", "2") as server:
        until(lambda: len(file.reports()) == 2)
        file.write(want("b", 2))
        until(lambda: {report.version for report in file.reports()} == {"b"})
        victim = file.reports()[0].pid
        os.kill(victim, 9)
        until(lambda: victim not in {r.pid for r in file.reports()} and len(file.reports()) == 2)
        assert {report.version for report in file.reports()} == {"b"}
        for _ in range(20):
            assert close(server.v1(rows()).json()["predictions"], promised("b"))


@pytest.mark.serving
def test_workers_end_with_the_process_that_looks_after_them(file: ServedFile, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    with (
        environment(TMPDIR=str(kept)),
        running(None, "m", "--follow", str(file.path), "--workers", "2") as server,
    ):
        until(lambda: len(file.reports()) == 2)
        assert list(kept.glob("cd4ml-*"))
        server.process.kill()
        until(lambda: not file.reports())
        until(lambda: not list(kept.glob("cd4ml-*")))


@pytest.mark.serving
def test_a_worker_that_hangs_is_replaced(file: ServedFile) -> None:
    command = [sys.executable, "-m", "tests.serving.patient_server", str(file.path), str(free_port())]
    server = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
    try:
        until(lambda: len(file.reports()) == 2)
        hung = file.reports()[0].pid
        os.kill(hung, signal.SIGSTOP)
        until(lambda: hung not in {r.pid for r in file.reports()} and len(file.reports()) == 2)
    finally:
        server.terminate()
        assert server.wait(30) == 0


def test_a_file_that_is_missing_is_told_at_the_start(tmp_path: Path) -> None:
    done = subprocess.run(
        command(None, "m", free_port(), "--follow", str(tmp_path / "none.json")),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "none.json" in done.stderr
