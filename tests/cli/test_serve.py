"""`cd4ml serve`: what it refuses, and a plane from its start to its end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import open_store
from cd4ml.cli.main import main
from cd4ml.delivery.local.plane import LocalPlane
from tests.adapters.s3_server import environment
from tests.models.bundles import bundle

ROW = {"age": 45, "plan": "plus", "note": None}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Registry]:
    with environment(CD4ML_STORE=str(tmp_path / "store")), contextlib.chdir(tmp_path):
        yield Registry(open_store())


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    assert main(["serve", *arguments]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    return said.err


def test_a_rejected_version_is_refused_in_one_line(
    store: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    store.push(bundle("people"), "people", verdict="reject")
    for words in (["people:1"], ["people@latest"], ["other=people:1"]):
        assert "the verdict is 'reject'" in refused(capsys, 3, *words)


def test_what_makes_no_plane_is_refused(store: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    store.push(bundle("people"), "people", verdict="accept")
    assert "no model 'peple'" in refused(capsys, 2, "peple")
    assert "named twice" in refused(capsys, 2, "people", "people")
    assert "for one MODEL" in refused(capsys, 2, "people", "b=people", "--weight", "3")
    assert "there is none" in refused(capsys, 2, "people", "--weight", "3")
    assert "steps of 0.01" in refused(capsys, 2, "people", "--canary", "@1", "--weight", "140")
    assert "header:NAME" in refused(capsys, 2, "people", "--sticky", "user")
    assert "an IP address" in refused(capsys, 2, "people", "--host", "example.com")
    assert "--reason" in refused(capsys, 2, "people", "--force")
    assert "a service's name" in refused(capsys, 2, "a b=people")


def test_an_envoy_that_is_not_there_is_told(store: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    with environment(CD4ML_ENVOY="/nowhere"):
        assert "CD4ML_ENVOY names '/nowhere'" in refused(capsys, 2, "people")


def test_a_plane_that_never_ran_is_told(store: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "status"]) == 6
    assert "never started" in capsys.readouterr().out
    assert main(["serve", "stop"]) == 0
    assert capsys.readouterr().out == "nothing was running\n"
    assert "give it a stable model" in refused(capsys, 2, "set", "people", "--weight", "3")
    assert main(["serve", "logs"]) == 0
    assert "no log 'x'" in (capsys.readouterr().out + refused(capsys, 2, "logs", "x"))


@pytest.mark.serving
def test_a_plane_from_its_start_to_its_end(store: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    store.push(bundle("people"), "people", verdict="accept")
    assert main(["serve", "people", "--detach", "--json"]) == 0
    try:
        found = json.loads(capsys.readouterr().out)
        assert found["phase"] == "running"
        assert _ask(found["url"]) == ("stable", "1")
        assert "runs already" in refused(capsys, 2, "people")
        assert (
            main(["serve", "set", "people", "--canary", "@1", "--weight", "100", "--sticky", "header:U"]) == 0
        )
        assert "canary people@1 ready, 100 %" in capsys.readouterr().out
        assert _ask(found["url"]) == ("canary", "1")
        assert main(["serve", "set", "people", "--canary", "none", "--sticky", "none"]) == 0
        capsys.readouterr()
        assert _ask(found["url"]) == ("stable", "1")
        assert main(["serve", "status"]) == 0
        assert "people" in capsys.readouterr().out
        assert main(["serve", "logs", "people.stable"]) == 0
        assert capsys.readouterr().out
        port = found["url"].rpartition(":")[2]
        said = refused(capsys, 6, "people", "--detach", "--state", "second", "--port", port)
        assert f"port {port} of 127.0.0.1 is taken" in said
        assert main(["serve", "remove", "people"]) == 0
        assert "no such" not in capsys.readouterr().out
        assert "no service 'people'" in refused(capsys, 2, "set", "people", "--history", "x")
        os.kill(found["supervisor"], signal.SIGKILL)
        assert main(["serve", "status"]) == 6
        assert "plane crashed" in capsys.readouterr().out
    finally:
        assert main(["serve", "stop"]) == 0
    assert main(["serve", "status"]) == 6
    assert "plane stopped" in capsys.readouterr().out


@pytest.mark.serving
def test_in_the_foreground_ctrl_c_ends_it_gracefully(store: Registry, tmp_path: Path) -> None:
    store.push(bundle("people"), "people", verdict="accept")
    module = [sys.executable, "-m", "cd4ml.cli", "serve", "people"]
    process = subprocess.Popen(module, stderr=subprocess.PIPE, text=True)
    plane = LocalPlane(tmp_path / ".cd4ml/serve")
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "ready, 100 %" in line:
            break
    record = plane.state.record()
    assert record is not None
    assert record.url in "".join(said)
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(60) == 0, rest
    assert "gateway stopped" in rest
    assert not any(Path(f"/proc/{process.pid}").exists() for process in record.processes)
    process.stderr.close()


def _ask(url: str) -> tuple[str, str]:
    body = json.dumps({"instances": [ROW]}).encode()
    headers = {"content-type": "application/json", "u": "ann"}
    request = urllib.request.Request(f"{url}/v1/models/people:predict", body, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.headers["x-cd4ml-variant"], response.headers["x-cd4ml-version"]
