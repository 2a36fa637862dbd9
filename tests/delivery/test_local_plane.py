"""The local plane with a real Envoy and real model servers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cd4ml.adapters.processes import identify
from cd4ml.adapters.served_file import ServedFile
from cd4ml.delivery.local.supervisor import PlaneSettings
from cd4ml.errors import ServiceError
from tests.delivery.running_plane import (
    PATH,
    READY_SECONDS,
    SERVICE,
    Caller,
    Load,
    Running,
    desired,
    expected,
    running,
    variant,
)

pytestmark = [pytest.mark.serving, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("plane"), desired(0)) as found:
        yield found


def test_a_weight_is_the_share_of_the_canary_and_the_shadow_gets_the_same_request_ids(plane: Running) -> None:
    plane.become(desired(0, canary=1, shadow=2, canary_percent=10, mirror_percent=100))
    caller, count, ids = Caller(plane.url), Counter[str](), []
    for _ in range(1000):
        answer = caller.ask()
        assert answer.status == 200
        count[answer.variant] += 1
        ids.append(answer.headers["ce-id"])
        assert answer.headers["x-request-id"] == ids[-1]
    assert 60 <= count["canary"] <= 145, count  # 10 %, 4 standard deviations
    assert count["canary"] + count["stable"] == 1000
    assert len(set(ids)) == 1000
    plane.await_(lambda: {event["id"] for event in plane.events("shadow")} >= set(ids), 15)
    shadow = {event["id"]: event for event in plane.events("shadow")}
    assert {shadow[one]["variant"] for one in ids} == {"shadow"}
    assert {shadow[one]["version"] for one in ids} == {"2"}
    assert shadow[ids[0]]["output"]["prediction"] == pytest.approx(expected(2)[0])


def test_a_request_id_of_the_callers_own_stays(plane: Running) -> None:
    plane.become(desired(0, shadow=2, mirror_percent=100))
    assert plane.ask(0, ce_id="order-17").headers["ce-id"] == "order-17"
    assert plane.ask(0, x_request_id="order-18").headers["ce-id"] == "order-18"
    plane.await_(lambda: {"order-17", "order-18"} <= {event["id"] for event in plane.events("shadow")}, 15)
    plane.await_(lambda: "order-17" in {line["id"] for line in plane.access()}, 30)


def test_half_of_the_requests_are_copied_when_half_are_asked_for(plane: Running) -> None:
    plane.become(desired(0, shadow=2, mirror_percent=50))
    before = {event["id"] for event in plane.events("shadow")}
    caller = Caller(plane.url)
    ids = {caller.ask().headers["ce-id"] for _ in range(400)}
    time.sleep(2)
    copied = ids & ({event["id"] for event in plane.events("shadow")} - before)
    assert 140 <= len(copied) <= 260


def test_sticky_callers_join_the_canary_as_it_grows_and_none_goes_back(plane: Running) -> None:
    names = [f"customer-{i}" for i in range(300)]
    before: set[str] = set()
    for percent in (0.0, 5.0, 20.0, 60.0, 100.0):
        plane.become(desired(0, canary=1, canary_percent=percent, sticky="header:X-User", salt="s\\1"))
        caller = Caller(plane.url)
        now = {name for name in names if caller.ask(0, {"x-user": name}).variant == "canary"}
        assert before <= now, "a caller went back from the canary"
        assert abs(len(now) - 3 * percent) < 36, (percent, len(now))  # 4 standard deviations of 300
        again = {name for name in names[:50] if caller.ask(0, {"x-user": name}).variant == "canary"}
        assert again == now & set(names[:50])
        before = now
    plane.become(desired(0, canary=1, canary_percent=20, sticky="header:X-User", salt="other"))
    caller = Caller(plane.url)
    others = {name for name in names if caller.ask(0, {"x-user": name}).variant == "canary"}
    plane.become(desired(0, canary=1, canary_percent=20, sticky="header:X-User", salt="s\\1"))
    caller = Caller(plane.url)
    first = {name for name in names if caller.ask(0, {"x-user": name}).variant == "canary"}
    assert len(first & others) < 0.6 * len(first), "another salt takes other callers"


def test_a_cookie_keeps_a_caller_where_the_first_request_went(plane: Running) -> None:
    plane.become(desired(0, canary=1, canary_percent=50, sticky="cookie:who"))
    seen = Counter[str]()
    for _ in range(24):
        caller = Caller(plane.url)
        first = caller.ask()
        cookie = first.headers["set-cookie"].split(";")[0]
        assert cookie.startswith("who=")
        later = [caller.ask(0, {"cookie": f"a=b; {cookie}; c=d"}) for _ in range(5)]
        assert {answer.variant for answer in later} == {first.variant}
        assert not any("set-cookie" in answer.headers for answer in later)
        seen[first.variant] += 1
    assert len(seen) == 2, seen
    plane.become(desired(0, canary=1, canary_percent=0, sticky="cookie:who"))
    assert plane.ask(0, cookie=cookie).variant == "stable"


def test_a_caller_of_this_machine_may_ask_for_a_variant(plane: Running) -> None:
    plane.become(desired(0, canary=1, shadow=2, canary_percent=0, mirror_percent=0))
    found = {name: plane.ask(0, x_cd4ml_variant=name) for name in ("stable", "canary", "shadow")}
    assert {name: answer.variant for name, answer in found.items()} == {name: name for name in found}
    assert found["canary"].version == "1"
    absent = plane.ask(0, x_cd4ml_variant="cannary")
    assert absent.status == 404
    assert "stable, canary, shadow" in absent.body["error"]
    # A proxy that forwards for somebody else is not a caller of this machine.
    assert plane.ask(0, x_cd4ml_variant="shadow", x_forwarded_for="203.0.113.7").variant == "stable"
    assert (
        plane.ask(0, x_cd4ml_variant="shadow", x_forwarded_for="203.0.113.7", x_envoy_internal="true").variant
        == "stable"
    )


def test_the_gateway_answers_for_itself_in_json(plane: Running) -> None:
    plane.become(desired(0))
    for path, status in (("/v2/health/live", 200), ("/v2/health/ready", 200), ("/v1/models", 200)):
        assert _get(plane.url + path)[0] == status
    assert _get(plane.url + "/v1/models")[1] == {"models": [SERVICE]}
    assert _get(plane.url + "/openapi.json")[1]["info"]["title"] == SERVICE
    assert _get(f"{plane.url}/services/{SERVICE}/openapi.json")[1]["info"]["title"] == SERVICE
    for path in ("/metrics", "/v2/repository/index", f"/services/{SERVICE}/v2/repository/index"):
        assert _get(plane.url + path)[0] == 404
    status, body = _get(f"{plane.url}/v1/models/peple:predict", b"{}")
    assert status == 404
    assert SERVICE in body["error"]


def test_a_killed_server_costs_no_request_and_is_reported(plane: Running) -> None:
    plane.become(desired(0))
    killed = plane.pid("stable")
    with Load(plane.url) as load:
        plane.await_(lambda: load.answered > 200)
        os.kill(killed, signal.SIGKILL)
        plane.await_(lambda: _restarts(plane) == 1)
        plane.await_(lambda: plane.plane.observe(SERVICE).converged)
        more = load.answered + 200
        plane.await_(lambda: load.answered > more)
    assert load.wrong == []
    _only_begun(load, plane, kills=1)
    found = plane.plane.observe(SERVICE).variant("stable")
    assert found is not None
    assert (found.last_exit, found.pid != killed) == ("signal 9 (SIGKILL)", True)
    assert found.last_exit_at
    plane.await_(lambda: any(line["attempts"] > 1 for line in plane.access()), 30)


def test_a_version_that_cannot_be_loaded_is_refused_and_the_old_one_answers(
    plane: Running, tmp_path: Path
) -> None:
    plane.become(desired(0))
    bad = replace(variant(1, "9"), location=str(tmp_path / "nothing"))
    plane.plane.apply(SERVICE, replace(desired(0), stable=bad))
    with pytest.raises(ServiceError, match="stable"):
        plane.plane.wait(SERVICE, READY_SECONDS)
    assert plane.ask().version == "0"
    restarts = _restarts(plane)
    os.kill(plane.pid("stable"), signal.SIGKILL)
    plane.await_(lambda: _restarts(plane) == restarts + 1)
    assert plane.ask().version == "0", "started again with what it had"
    plane.become(desired(2))
    assert plane.ask().version == "2"


def test_a_killed_gateway_comes_back_at_the_same_port(plane: Running) -> None:
    plane.become(desired(0, canary=1, canary_percent=100))
    url, record = plane.url, plane.plane.state.record()
    assert record is not None
    before = record.gateway_restarts
    gateway = next(process.pid for process in record.processes if _program(process.pid) == "envoy")
    os.kill(gateway, signal.SIGKILL)
    plane.await_(lambda: (plane.plane.state.record() or record).gateway_restarts == before + 1)
    plane.await_(lambda: plane.plane.observe(SERVICE).converged)
    assert plane.url == url
    assert plane.ask().variant == "canary"


@pytest.mark.timeout(600)
def test_nothing_is_lost_while_weights_change_models_swap_and_servers_are_killed(plane: Running) -> None:
    total = int(os.environ.get("CD4ML_TEST_REQUESTS", "100000"))
    plane.become(desired(0, canary=1))
    kills, started = {6: "stable", 13: "canary"}, time.monotonic()
    with Load(plane.url) as load:
        for step in range(20):
            stable, canary = (step // 4) % 3, (step // 4 + 1) % 3
            plane.become(desired(stable, canary=canary, canary_percent=(step * 37) % 100))
            if step in kills:
                os.kill(plane.pid(kills[step]), signal.SIGKILL)
            goal = total * (step + 1) // 20
            plane.await_(lambda goal=goal: load.answered + len(load.lost) >= goal, 300)  # type: ignore[misc]
    told = f"{load.answered} requests in {time.monotonic() - started:.0f} s: {dict(load.versions)}"
    assert load.wrong == [], told
    assert len(load.versions) == 3, told
    _only_begun(load, plane, kills=2)


def test_a_plane_that_stops_leaves_no_process(tmp_path: Path) -> None:
    with running(tmp_path, desired(0, canary=1, shadow=2, mirror_percent=100)) as plane:
        record = plane.plane.state.record()
        assert record is not None
        assert len(record.processes) == 4
        plane.supervisor.terminate()
        assert plane.supervisor.wait(60) == 0
        assert [process for process in record.processes if identify(process.pid)] == []
        after = plane.plane.state.record()
        assert after is not None
        assert (after.phase, after.processes, after.error) == ("stopped", (), "")


def test_a_plane_that_stops_answers_what_it_was_asked(tmp_path: Path) -> None:
    with running(tmp_path, desired(0)) as plane, Load(plane.url) as load:
        plane.await_(lambda: load.answered > 300)
        plane.supervisor.terminate()
        assert plane.supervisor.wait(60) == 0
    assert load.wrong == []
    # A new caller finds nobody, or the kernel takes the connection and nobody hears it; none who was heard
    # stays without an answer.
    kinds = Counter(lost.split("(")[0] for lost in load.lost)
    assert set(kinds) <= {"ConnectionRefusedError", "ConnectionResetError"}, kinds
    assert kinds["ConnectionResetError"] <= load.callers


def test_a_damaged_file_of_one_service_harms_nobody(tmp_path: Path) -> None:
    with running(tmp_path, desired(0)) as plane:
        (tmp_path / "services" / SERVICE / "desired.json").write_text("{")
        (tmp_path / "services" / "other").mkdir()
        (tmp_path / "services" / "other" / "desired.json").write_text("[]")
        time.sleep(1)
        assert plane.supervisor.poll() is None
        record = plane.plane.state.record()
        assert record is not None
        assert Caller(record.url).ask().version == "0"


def test_servers_of_several_processes_swap_and_survive_the_death_of_one(tmp_path: Path) -> None:
    with running(tmp_path, desired(0), workers=2) as plane:
        file = ServedFile(plane.plane.state.served_file(SERVICE, "stable"))
        with Load(plane.url) as load:
            plane.await_(lambda: load.answered > 200)
            plane.become(desired(1))
            killed, other = (report.pid for report in file.reports())
            os.kill(killed, signal.SIGKILL)
            plane.await_(lambda: killed not in _pids(file) and len(_pids(file)) == 2)
            assert other in _pids(file), "only the killed one is started again"
        assert {Caller(plane.url).ask().version for _ in range(20)} == {"1"}
        assert load.wrong == []
        _only_begun(load, plane, kills=1)


def test_servers_end_with_a_killed_supervisor_and_a_new_one_takes_over(tmp_path: Path) -> None:
    with running(tmp_path, desired(0)) as plane:
        record = plane.plane.state.record()
        assert record is not None
        plane.supervisor.kill()
        plane.supervisor.wait(10)
        assert "does not run" in plane.plane.observe(SERVICE).problems[0]
        plane.await_(lambda: not any(identify(process.pid) for process in record.processes), 30)
        with running(tmp_path, desired(1)) as again:
            assert again.ask().version == "1"


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = PlaneSettings()
        settings = replace(settings, gateway=replace(settings.gateway, port=port))
        command = ["--state", str(tmp_path), "--settings", settings.to_json()]
        module = [sys.executable, "-m", "cd4ml.delivery.local.supervisor"]
        done = subprocess.run([*module, *command], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 6
    assert f"port {port} of 127.0.0.1 is taken" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_body_that_is_too_large_gets_413_in_json(tmp_path: Path) -> None:
    with running(tmp_path, desired(0), body_bytes=1000) as plane:
        status, body = _get(plane.url + PATH, b'{"instances": "' + b"x" * 2000 + b'"}')
        assert status == 413
        assert body["error"]


def _restarts(plane: Running) -> int:
    found = plane.plane.observe(SERVICE).variant("stable")
    return found.restarts if found else -1


def _only_begun(load: Load, plane: Running, kills: int) -> None:
    """All was answered but what had begun to be when a server was killed; the access log has that."""
    begun = [lost for lost in load.lost if lost.startswith("IncompleteRead")]
    assert load.lost == begun
    assert len(begun) <= kills * load.callers
    plane.await_(lambda: _cut_off(plane) >= len(begun), 30)


def _pids(file: ServedFile) -> list[int]:
    return [report.pid for report in file.reports()]


def _cut_off(plane: Running) -> int:
    return sum("upstream_reset_after_response_started" in line["details"] for line in plane.access())


def _program(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _get(url: str, data: bytes | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
