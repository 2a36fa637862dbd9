"""What a task may not do fails the run, and says why; each in a real container by our runner."""

import json
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cd4ml.adapters.kubeflow import LocalRun, run_local
from cd4ml.errors import Cd4mlError, ContractError
from tests.adapters.s3_server import environment
from tests.containers.engine import Engine
from tests.containers.misbehaving import compile_foreign, compile_misbehaving

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

LOOK = """
import json, os
lines = open("/proc/self/status").read().splitlines()
status = dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)
devices = [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]]
open("/tmp/scratch", "w").write("may be written to")
said = json.dumps({
    "user": [os.getuid(), os.getgid()], "rights": status["CapEff"], "bounded": status["CapBnd"],
    "no_new": status["NoNewPrivs"], "devices": devices, "root": os.statvfs("/").f_flag & os.ST_RDONLY,
    "before": open(before).read(), "data": open(data + "/file").read(),
})
open(store + "/file", "w").write("may be written to")
"""

FORBIDDEN = {
    "exits with a code": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "raises": ("raise KeyError('nothing here')", "KeyError"),
    "ends its own process as if all were well": ("import os; os._exit(0)", "wrote no outputs"),
    "is killed": ("import os; os.kill(os.getpid(), 9)", "was killed before it could say why"),
    "writes to the root": ("open('/usr/file', 'w')", r"Read-only file system: '/usr/file'"),
    "writes to its home's parent": ("open('/home/file', 'w')", r"Read-only|Permission denied"),
    "writes to another task's outputs": ("open(before, 'w')", "Read-only file system"),
    "writes beside its outputs": (
        "import pathlib; (pathlib.Path(out).parents[1] / 'new').mkdir()",
        "Read-only file system",
    ),
    "writes to the data": ("open(data + '/file', 'w')", "Read-only file system"),
    "needs the network": (
        "import socket; socket.create_connection(('192.0.2.1', 443), timeout=5)",
        "Network is unreachable",
    ),
    "needs a name from the network": (
        "import urllib.request; urllib.request.urlopen('https://pypi.org', timeout=5)",
        "URLError",
    ),
    "wants to become root": ("import os; os.setuid(0)", "Operation not permitted"),
    "gives files away": ("open(out, 'w').close(); import os; os.chown(out, 0, 0)", "Operation not permitted"),
    "installs a package": (
        "import subprocess; subprocess.run(['dpkg', '--configure', '-a'], check=True)",
        "CalledProcessError|FileNotFoundError",
    ),
}


@pytest.fixture(scope="module")
def package(components: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_misbehaving(components, tmp_path_factory.mktemp("misbehaving"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data and a store; all runs lie in one place, so that the first task runs once."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("data", "store"):
        (folder / name).mkdir()
        (folder / name / "file").write_text("written before")
    return folder


def go(engine: Engine, package: Path, place: Path, code: str, **more: str) -> LocalRun:
    given = {"data": str(place / "data"), "store": str(place / "store")}
    with environment(**{**engine.variables, **more}):
        return run_local(package, {"code": code, **given}, place, runner="docker")


def test_a_task_sees_what_it_was_given_and_has_nothing_else(engine, package, place) -> None:
    run = go(engine, package, place, LOOK)
    found = json.loads(run.parameters("second")["Output"])
    assert found["user"] == [os.getuid() or 10001, os.getgid() or 10001]
    assert int(found["rights"], 16) == int(found["bounded"], 16) == 0
    assert found["no_new"] == "1" and found["devices"] == ["lo"] and found["root"] == os.ST_RDONLY
    assert (found["before"], found["data"]) == ("made before", "written before")
    assert (place / "store/file").read_text() == "may be written to"
    assert run.path("second", "out").read_text() == "done"


@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_run_fails_when_a_task(what, engine, package, place) -> None:
    code, said = FORBIDDEN[what]
    with pytest.raises(Cd4mlError, match=said) as raised:
        go(engine, package, place, code)
    assert raised.value.exit_code == 1
    assert (place / "data/file").read_text() == "written before"
    assert engine.call("ps", "--all", "--quiet", "--filter", "label=cd4ml.run").stdout == ""


def test_an_error_of_ours_keeps_its_exit_code(engine, package, place) -> None:
    code = "from cd4ml.errors import ContractError; raise ContractError('expected 5 columns, found 6')"
    with pytest.raises(ContractError, match="expected 5 columns, found 6") as raised:
        go(engine, package, place, code)
    assert raised.value.exit_code == 4


def test_a_task_that_takes_more_memory_than_its_limit_is_killed(engine, package, place) -> None:
    with pytest.raises(Cd4mlError, match="perhaps for lack of memory"):
        go(engine, package, place, "bytearray(b'x' * (600 << 20))", CD4ML_TASK_MEMORY="300m")


@contextmanager
def listening():
    """Serve on the loopback of this machine; yield the address and the list of those who called."""
    calls = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/called", calls
    finally:
        server.shutdown()
        server.server_close()


def test_services_of_this_machine_are_reached_only_with_a_network_that_was_asked_for(
    engine, package, place
) -> None:
    with listening() as (address, calls):
        code = f"import urllib.request; urllib.request.urlopen('{address}', timeout=5)"
        with pytest.raises(Cd4mlError, match="Connection refused"):
            go(engine, package, place, code)
        assert calls == []
        go(engine, package, place, code, CD4ML_TASK_NETWORK="host")
        assert calls == ["/called"]


@pytest.mark.parametrize(("code", "fails"), [("exit 0", False), ("exit 7", True)])
def test_a_container_without_kfp_fails_with_its_exit_code(code, fails, engine, base, tmp_path) -> None:
    package = compile_foreign(base, tmp_path)
    with environment(**engine.variables):
        if not fails:
            assert run_local(package, {"code": code}, tmp_path, runner="docker").tasks == ()
            return
        with pytest.raises(Cd4mlError, match="the local runner failed") as raised:
            run_local(package, {"code": code}, tmp_path, runner="docker")
    assert raised.value.exit_code == 1


def test_an_image_that_nobody_has_fails_the_run(engine, components, tmp_path) -> None:
    package = compile_foreign(f"127.0.0.1:{engine.registry_port}/python-nobody@sha256:{'0' * 64}", tmp_path)
    with environment(**engine.variables), pytest.raises(Cd4mlError, match="the local runner failed"):
        run_local(package, {"code": "exit 0"}, tmp_path, runner="docker")
