"""A pipeline is handed to an API server: what is sent, and what its refusals become."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cd4ml.adapters.kubeflow import submit
from cd4ml.errors import ServiceError, UsageError
from tests.adapters.tiny_pipeline import compile_tiny


class ApiServer(ThreadingHTTPServer):
    """Answers as the v2beta1 API does; remembers what it was asked; fails a run with `status` when set."""

    def __init__(self):
        self.asked, self.status = [], 200
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def answer(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
        path = self.path.split("?")[0]
        self.server.asked.append((self.command, path, body, self.headers.get("Authorization")))
        status, reply = 200, {}
        if path.endswith("/healthz"):
            reply = {"multi_user": False}
        elif path.endswith("/experiments") and self.command == "GET":
            reply = {"experiments": [{"experiment_id": "e1", "display_name": "cd4ml"}]}
        elif path.endswith(("/experiments/e1", "/experiments")):
            reply = {"experiment_id": "e1", "display_name": "cd4ml"}
        elif path.endswith("/runs"):
            status = self.server.status
            reply = (
                {"run_id": "r1", "experiment_id": "e1", "display_name": body["display_name"]}
                if status == 200
                else {"error": "x", "message": "the reason"}
            )
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = answer

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    api = ApiServer()
    thread = threading.Thread(target=api.serve_forever, daemon=True)
    thread.start()
    yield api
    api.shutdown()
    api.server_close()


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
    with pytest.raises(ServiceError, match="could not reach it .*port-forward") as caught:
        submit(tiny, {"what": "x"}, host="http://127.0.0.1:9")
    assert caught.value.exit_code == 6


def test_a_host_without_a_scheme_is_refused(tiny):
    with pytest.raises(UsageError, match="host must be a URL"):
        submit(tiny, {"what": "x"}, host="localhost:8888")
