import asyncio
import http.client
import io
import json
import logging
import math
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.serving.logs import (
    MADE_ID,
    JsonFormatter,
    RequestIds,
    current_request_id,
    log_config,
    request_id,
    request_scope,
)

ROOT = Path(__file__).parents[2]


def written(log_it, **fields):
    """Return what a logger with the formatter wrote, one value a line."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(**fields))
    logger = logging.Logger("a.b", logging.DEBUG)
    logger.addHandler(handler)
    log_it(logger)
    text = stream.getvalue()
    assert text.endswith("\n")
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


def test_a_line_has_time_level_logger_message_and_what_was_given():
    def log_it(logger):
        logger.warning("%d rows", 3, extra={"rows": 3, "field": "hr"})

    (line,) = written(log_it, model="shop", version="7")
    expected = {"level": "warning", "logger": "a.b", "message": "3 rows", "rows": 3, "field": "hr"}
    assert line.items() >= (expected | {"model": "shop", "version": "7"}).items()
    assert line["time"].endswith("Z")
    assert "request_id" not in line
    assert "args" not in line


def test_a_line_in_a_request_has_its_id_and_one_after_it_has_not():
    def log_it(logger):
        with request_scope("r-1"):
            with request_scope("r-2"):
                logger.info("inner")
            logger.info("outer")
        logger.info("after")

    assert [line.get("request_id") for line in written(log_it)] == ["r-2", "r-1", None]


def test_an_exception_stays_in_one_line():
    def log_it(logger):
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logger.exception("failed")

    (line,) = written(log_it)
    assert line["error"]["type"] == "ValueError"
    assert line["error"]["message"] == "two\nlines"
    assert "test_logs.py" in line["error"]["trace"]


class Unspeakable:
    def __repr__(self):
        return "unspeakable"


@pytest.mark.parametrize("value", [math.nan, Unspeakable(), {1: {2}}, {(1, 2): 3}, "a\u2028b\nc"], ids=repr)
def test_any_value_gives_a_line_of_json(value):
    (line,) = written(lambda logger: logger.info("odd", extra={"value": value}))
    assert line["message"] == "odd"
    assert "value" in line


def test_a_message_whose_arguments_do_not_fit_is_written_all_the_same():
    (line,) = written(lambda logger: logger.info("%d rows", "many"))
    assert "many" in line["message"]


@pytest.mark.parametrize("name", ["Ce-Id", "ce-id", "CE-ID"])
def test_the_id_is_that_of_the_request(name):
    assert request_id({"x-request-id": "other", name: "abc-1"}) == "abc-1"


def test_the_gateways_id_is_next():
    assert request_id({"X-Request-Id": "gateway"}) == "gateway"


@pytest.mark.parametrize("headers", [None, {}, {"ce-id": ""}, {"ce-id": "x" * 201}, {"ce-id": "a b"}])
def test_a_missing_or_unusable_id_is_made(headers):
    assert uuid.UUID(request_id(headers))
    assert request_id(headers) != request_id(headers)


@given(st.text())
@settings(deadline=None, max_examples=50)
def test_no_id_can_forge_a_line_or_a_header(text):
    found = request_id({"ce-id": text})
    assert found
    assert found.isascii()
    assert found.isprintable()
    assert " " not in found


def test_what_is_not_http_passes_by():
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, current_request_id()))

    asyncio.run(RequestIds(app)({"type": "lifespan"}, None, None))
    assert seen == [({"type": "lifespan"}, "")]


@pytest.mark.parametrize("headers", [[], [(b"ce-id", b"given")]])
def test_an_answer_that_knows_its_id_keeps_it_and_what_is_inside_sees_whether_one_was_made(headers):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope.get(MADE_ID))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Ce-Id", b"of-body")]})

    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(RequestIds(app)({"type": "http", "headers": headers}, None, send))
    assert sent[0]["headers"] == [(b"Ce-Id", b"of-body")]
    assert (seen[0] is None) == bool(headers)


def test_requests_at_once_keep_their_ids_apart():
    async def app(scope, receive, send):
        before = current_request_id()
        await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{before} {current_request_id()}".encode()})

    async def ask(identity):
        sent = []

        async def send(message):
            sent.append(message)

        await RequestIds(app)({"type": "http", "headers": [(b"ce-id", identity)]}, None, send)
        return sent

    async def ask_all():
        return await asyncio.gather(*(ask(f"r-{number}".encode()) for number in range(20)))

    for number, (start, body) in enumerate(asyncio.run(ask_all())):
        assert start["headers"] == [(b"ce-id", f"r-{number}".encode())]
        assert body["body"] == f"r-{number} r-{number}".encode()


def test_the_configuration_is_plain_data_with_the_level_that_was_asked_for():
    config = json.loads(json.dumps(log_config("DEBUG", variant="canary")))
    assert config["loggers"]["cd4ml"]["level"] == "DEBUG"
    assert config["formatters"]["json"]["variant"] == "canary"


def ask(port, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/v1/models/shop", headers=headers)
    response = connection.getresponse()
    found = response.status, response.getheader("Ce-Id"), response.read().decode()
    connection.close()
    return found


def test_a_server_takes_makes_tells_and_logs_ids(tmp_path):
    command = [sys.executable, "-m", "tests.serving.logging_server", str(tmp_path)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        port = int(server.stdout.readline())
        given_id = ask(port, {"Ce-Id": "given-1"})
        made = ask(port, {})
    finally:
        server.send_signal(signal.SIGINT)
        _, text = server.communicate(timeout=20)
    assert given_id == (422, "given-1", "given-1 given-1")
    assert uuid.UUID(made[1])
    assert made[2] == f"{made[1]} {made[1]}"
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    own = [line for line in lines if line["logger"] == "cd4ml.serving"]
    assert [(line["request_id"], line["rows"], line["model"]) for line in own] == [
        ("given-1", 2, "shop"),
        (made[1], 2, "shop"),
    ]
    access = [line for line in lines if line["logger"] == "uvicorn.access"]
    assert [(line["request_id"], line["status"], line["path"]) for line in access] == [
        ("given-1", 422, "/v1/models/shop"),
        (made[1], 422, "/v1/models/shop"),
    ]
