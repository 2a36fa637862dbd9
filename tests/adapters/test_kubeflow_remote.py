"""A pipeline is handed to an API server: what is sent, and what its refusals become."""

import socket
import time

import pytest

from cd4ml.adapters.kubeflow import submit
from cd4ml.errors import ServiceError, UsageError
from tests.adapters.kubeflow_server import api_server
from tests.adapters.s3_server import environment
from tests.adapters.tiny_pipeline import compile_tiny


@pytest.fixture
def server():
    with api_server() as api:
        yield api


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return compile_tiny(tmp_path_factory.mktemp("compiled"))


def test_a_submitted_run_carries_the_pipeline_and_its_arguments(server, tiny, capsys):
    given = submit(tiny, {"what": "x", "names": ["a"]}, host=server.url + "/", run_name="first")
    assert given == {
        "run_id": "r1",
        "experiment_id": "e1",
        "name": "first",
        "url": f"{server.url}/#/runs/details/r1",
    }
    (sent,) = [body for method, path, body, _ in server.asked if method == "POST" and path.endswith("/runs")]
    assert sent["runtime_config"]["parameters"] == {"what": "x", "names": ["a"]}
    assert sent["pipeline_spec"]["pipelineInfo"]["name"] == "tiny"
    assert capsys.readouterr().out == ""


def test_a_refused_request_is_wrong_use_and_gives_the_servers_reason(server, tiny):
    server.status = 400
    with pytest.raises(UsageError, match="answered 400: the reason"):
        submit(tiny, {"what": "x"}, host=server.url)


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_the_caller_is_a_service_error(status, server, tiny):
    server.status = status
    with pytest.raises(ServiceError, match=f"answered {status}: the reason"):
        submit(tiny, {"what": "x"}, host=server.url)


def test_an_unreachable_server_is_a_service_error_that_says_what_to_do(tiny):
    with pytest.raises(ServiceError, match=r"could not reach it .*port-forward") as caught:
        submit(tiny, {"what": "x"}, host="http://127.0.0.1:9")
    assert caught.value.exit_code == 6


def test_a_host_without_a_scheme_is_refused(tiny):
    with pytest.raises(UsageError, match="host must be a URL"):
        submit(tiny, {"what": "x"}, host="localhost:8888")


def test_a_server_that_never_answers_is_not_waited_for_for_ever(tiny):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        host = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServiceError, match="could not reach it"):
            submit(tiny, {"what": "x"}, host=host, timeout_seconds=0.3)
    assert time.monotonic() - started < 10


def test_arguments_that_are_not_the_pipelines_are_refused_before_anything_is_sent(server, tiny):
    with pytest.raises(UsageError, match="did you mean 'mood'"):
        submit(tiny, {"what": "x", "moood": "y"}, host=server.url)
    assert server.asked == []


def test_a_token_comes_from_the_environment(server, tiny):
    with environment(CD4ML_KFP_TOKEN="the-token"):
        submit(tiny, {"what": "x"}, host=server.url)
    assert {authorization for *_, authorization in server.asked} == {"Bearer the-token"}


def test_a_refusal_that_is_no_json_is_told_as_it_is(server, tiny):
    server.status, server.reply = 500, b"out of\n order"
    with pytest.raises(ServiceError, match="answered 500: out of order"):
        submit(tiny, {"what": "x"}, host=server.url)
