"""What a running server tells of itself, and what it does when it is asked too much."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cd4ml.models.runtime import Bundle, holdout_rows
from cd4ml.serving.event_files import whole_files
from tests.models.bundles import bundle
from tests.serving.model_server import Running, running
from tests.serving.versions import promised, rows, version

LABELS = {"model": "m", "version": "a", "variant": "canary"}


def samples(server: Running) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = server.get("/metrics").text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Any, name: str, **labels: str) -> float:
    return float(found[name, frozenset({**LABELS, **labels}.items())])


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in whole_files(folder) for line in file.read_bytes().splitlines()]


def options(*more: str) -> list[str]:
    return ["--model-version", "a", "--variant", "canary", *more]


def large(count: int) -> bytes:
    """Return a body whose work takes a while."""
    row = holdout_rows(bundle("shop"))[0]
    return json.dumps({"instances": [row] * count}).encode()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.serving)])
def test_numbers_events_and_lines_of_all_workers_agree_with_what_was_asked(
    tmp_path: Path, workers: int
) -> None:
    folder, log = tmp_path / "events", tmp_path / "log"
    more = options("--events", str(folder), "--workers", str(workers))
    with running(version("a"), "m", *more, log=log) as server:
        answers = [server.v1(rows()) for _ in range(10)]
        inputs = [
            {"name": "age", "datatype": "INT64", "shape": [1], "data": [40]},
            {"name": "plan", "datatype": "BYTES", "shape": [1], "data": ["old"]},
        ]
        assert server.v2(json={"id": "of-body", "inputs": inputs}).headers["Ce-Id"] == "of-body"
        bad = server.v1([{**rows()[0], "age": 500}], headers={"X-Request-Id": "bad-1"})
        found = samples(server)
        server.stop()
    answered = {answer.headers["Ce-Id"] for answer in answers}
    assert value(found, "cd4ml_requests_total", protocol="v1", outcome="ok") == 10
    assert value(found, "cd4ml_requests_total", protocol="v2", outcome="ok") == 1
    assert value(found, "cd4ml_request_errors_total", protocol="v1", kind="refused") == 1
    assert value(found, "cd4ml_predicted_probability_count") == 31
    identity = Bundle.load(version("a")).id
    assert value(found, "cd4ml_served_info", bundle=identity) == 1
    written = events(folder)
    assert len(written) == 31
    assert {line["id"] for line in written} == answered | {"of-body"}
    first = [line for line in written if line["id"] == answers[0].headers["Ce-Id"]]
    assert [line["output"]["prediction"] for line in first] == pytest.approx(promised("a"))
    assert [line["inputs"]["age"] for line in first] == [row["age"] for row in rows()]
    assert {(line["model"], line["version"], line["variant"]) for line in written} == {("m", "a", "canary")}
    assert bad.headers["Ce-Id"] == "bad-1"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (failed,) = [line for line in lines if line["message"] == "prediction"]
    assert (failed["status"], failed["field"], failed["request_id"]) == (400, "age", "bad-1")
    assert failed["level"] == "warning"


def test_an_answer_names_version_and_variant_and_so_do_the_metadata() -> None:
    with running(version("a"), "m", *options("--access-log")) as server:
        good, bad = server.v1(rows()), server.v1([])
        for answer in (good, bad):
            named = [answer.headers[f"X-Cd4ml-{what}"] for what in ("Version", "Variant")]
            assert named == ["a", "canary"]
        found = server.get("/v2/models/m").json()
        health = server.get("/v2/health/live")
        closed = [server.post(f"/v2/repository/models/m/{verb}") for verb in ("load", "unload")]
        still = server.get("/v2/models/m/ready")
    assert (found["versions"], found["variant"]) == (["a"], "canary")
    assert found["bundle"] == Bundle.load(version("a")).id
    assert "Ce-Id" in health.headers
    for answer in closed:
        assert answer.status_code == 404
        assert answer.json()["field"] == "path"
    assert still.ok


def test_a_prediction_that_takes_too_long_is_given_up_and_health_goes_on() -> None:
    with running(bundle("shop"), "shop", "--timeout-seconds", "0.02") as server:
        answer = server.post("/v1/models/shop:predict", data=large(10_000))
        assert answer.status_code == 504
        assert answer.json()["allowed"].startswith("an answer within 0.02 s")
        assert server.get("/v2/health/ready").ok
        assert server.v1(holdout_rows(bundle("shop"))[:1]).ok
        found = samples(server)
    (late,) = [
        number
        for (name, labels), number in found.items()
        if name == "cd4ml_request_errors_total" and {("protocol", "v1"), ("kind", "timeout")} <= labels
    ]
    assert late == 1


def test_more_at_once_than_there_is_room_for_are_sent_away_and_room_comes_back() -> None:
    with running(version("a"), "m", "--max-concurrent", "1") as server:
        head = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
        with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
            connection.sendall(head)
            time.sleep(0.2)
            answer = server.v1(rows())
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "1"
            assert answer.json()["found"] == "1 requests under way"
            assert server.get("/v2/health/ready").ok
            connection.sendall(b"12345678")
            assert b" 400 " in connection.recv(4096).split(b"\r\n")[0]
        assert server.v1(rows()).ok


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.serving)])
def test_what_is_under_way_at_the_end_is_answered_and_its_event_written(tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "events"
    count = 5000
    with (
        running(bundle("shop"), "shop", "--events", str(folder), "--workers", str(workers)) as server,
        ThreadPoolExecutor(4) as pool,
    ):
        body, began = large(count), threading.Barrier(5)

        def ask() -> Any:
            began.wait()
            return server.post("/v1/models/shop:predict", data=body)

        asked = [pool.submit(ask) for _ in range(4)]
        began.wait()
        time.sleep(0.15)
        assert server.stop() == 0
        answers = [one.result() for one in asked]
    assert [len(answer.json()["predictions"]) for answer in answers] == [count] * 4
    assert len(events(folder)) == 4 * count
