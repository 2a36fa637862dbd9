"""Where problem files come from, and how their YAML is read."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import pytest

from cd4ml.adapters.problem_files import dumps, load, loads
from cd4ml.adapters.storage import Storage, open_store
from cd4ml.errors import NotFoundError, ProblemError, ServiceError, UsageError
from tests.adapters.s3_server import environment, new_bucket

BIKE = (resources.files("cd4ml") / "problems" / "bike-demand.yaml").read_text(encoding="utf-8")


@contextmanager
def served(status: int, body: bytes, promised: int | None = None) -> Iterator[str]:
    """Answer every GET so; `promised` is a Content-Length that may be untrue."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if promised is None else promised))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/bike.yaml"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_problem_comes_from_a_url() -> None:
    with served(200, BIKE.encode()) as url:
        assert load(url) == load("bike-demand")


@pytest.mark.parametrize(("status", "error"), [(404, NotFoundError), (503, ServiceError)])
def test_a_url_without_a_problem_says_what_the_server_answered(status: int, error: type[Exception]) -> None:
    with served(status, b"") as url, pytest.raises(error, match=f"the server answered {status}"):
        load(url)


def test_an_answer_that_breaks_off_and_a_host_that_is_not_there_are_services() -> None:
    with served(200, b"name: x", promised=100) as url, pytest.raises(ServiceError, match="cannot read"):
        load(url)
    with pytest.raises(ServiceError, match="cannot read"):
        load("http://127.0.0.1:1/bike.yaml")


def test_a_file_that_is_far_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"#" * 5_000_001)
    (tmp_path / "bytes").write_bytes(b"name: \xff")
    with pytest.raises(ProblemError, match="at most 5000000 bytes"):
        load(str(tmp_path / "large"))
    with pytest.raises(ProblemError, match="expected UTF-8 text; found byte 0xff"):
        load(str(tmp_path / "bytes"))
    with served(200, b"name: \xff") as url, pytest.raises(ProblemError, match="expected UTF-8"):
        load(url)


def test_a_path_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "none.yaml", tmp_path / "file" / "x.yaml"):
        with pytest.raises(NotFoundError, match="no problem"):
            load(str(path))
    with pytest.raises(NotFoundError, match="is a directory"):
        load(str(tmp_path))
    with pytest.raises(NotFoundError, match="cannot be read: File name too long"):
        load("x" * 300)


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://"])
def test_a_bucket_alone_is_no_problem_file(url: str) -> None:
    with pytest.raises(UsageError, match="expected s3://bucket/path"):
        load(url)


@pytest.mark.s3
def test_a_problem_comes_from_a_bucket(endpoint: str) -> None:
    store: Storage = new_bucket(endpoint)
    store.put("bike.yaml", BIKE.encode())
    with environment(CD4ML_S3_ENDPOINT=endpoint):
        assert load(store.url("bike.yaml")) == load("bike-demand")
        with pytest.raises(NotFoundError, match=r"none\.yaml"):
            load(store.url("none.yaml"))
        assert open_store(store.url("x").removesuffix("/x")).list("") == ["bike.yaml"]


def test_numbers_and_words_are_those_of_yaml_1_2() -> None:
    text = re.sub(r"max_leaf_nodes: \[.*\]", "max_leaf_nodes: [031, 0x1F]", BIKE)
    problem = loads(re.sub(r"learning_rate: \[.*\]", "learning_rate: [1e-3, 6E-2, .5, 3.]", text))
    search = problem.candidates[0].search
    assert search["learning_rate"] == [0.001, 0.06, 0.5, 3.0]
    assert search["max_leaf_nodes"] == [31, 31]
    named = BIKE.replace("owner: fleet planning", "owner: 12:30").replace("rentals by hour", "yes")
    assert loads(named).owner == "12:30"


def test_an_anchor_within_itself_is_refused() -> None:
    with pytest.raises(ProblemError, match="an anchor contains itself"):
        loads("name: x\nassumptions: &a [*a]\n")


def test_the_normal_form_is_json_and_reads_back() -> None:
    problem = load("bike-demand")
    assert json.loads(dumps(problem))["name"] == "bike-demand"
    assert loads(dumps(problem)) == problem
    assert list(json.loads(dumps(problem))["derived"]) == ["at", "log_rentals", "workday_hour"]
