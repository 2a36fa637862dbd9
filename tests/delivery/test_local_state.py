import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from cd4ml.adapters.processes import ProcessId, identify
from cd4ml.delivery.local.model_server import Crashes, free_port
from cd4ml.delivery.local.plane import LocalPlane
from cd4ml.delivery.local.state import PlaneRecord, PlaneState
from cd4ml.delivery.plane import DesiredService, ObservedService, ObservedVariant, Variant
from cd4ml.errors import ConflictError, IntegrityError, NotFoundError, ServiceError, UsageError

A, B = Variant("m@1", "1", "a" * 64, "/a"), Variant("m@2", "2", "b" * 64, "/b")
WANTED = DesiredService("m", A)


def running(plane: LocalPlane) -> None:
    me = identify(os.getpid())
    assert me is not None
    plane.state.write_record(PlaneRecord(me, phase="running", url="http://127.0.0.1:1"))


def test_to_apply_twice_is_to_apply_once(tmp_path: Path) -> None:
    plane = LocalPlane(tmp_path)
    plane.apply("m", WANTED)
    plane.apply("m", WANTED)
    assert plane.state.desired("m") == (WANTED, 1)
    plane.apply("m", replace(WANTED, stable=B))
    assert plane.state.desired("m") == (replace(WANTED, stable=B), 2)
    assert plane.state.services() == ["m"]


def test_no_change_of_several_writers_is_lost(tmp_path: Path) -> None:
    plane = LocalPlane(tmp_path)
    plane.apply("m", DesiredService("m", A, canary=B, canary_percent=0))

    def add() -> None:
        for _ in range(10):
            state = PlaneState(tmp_path)
            state.change(
                "m", lambda old: replace(old, canary_percent=old.canary_percent + 1) if old else WANTED
            )

    writers = [threading.Thread(target=add) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = plane.state.desired("m")
    assert found is not None
    assert (found[0].canary_percent, found[1]) == (40, 41)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 64, "a b"])
def test_a_service_has_a_plain_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a service's name"):
        LocalPlane(tmp_path).apply(name, DesiredService(name, A))


def test_a_state_of_another_service_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="of 'm', not of 'n'"):
        LocalPlane(tmp_path).apply("n", WANTED)


def test_an_unknown_service_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    plane = LocalPlane(tmp_path)
    plane.apply("bike", DesiredService("bike", A))
    with pytest.raises(NotFoundError, match="did you mean 'bike'"):
        plane.observe("bikes")


def test_what_was_seen_counts_while_the_supervisor_lives_and_looked_at_the_last_change(
    tmp_path: Path,
) -> None:
    plane = LocalPlane(tmp_path)
    plane.apply("m", WANTED)
    assert "does not run" in plane.observe("m").problems[0]
    plane.state.observe(ObservedService("m", 1, True, variants=(ObservedVariant("stable"),)))
    assert not plane.observe("m").converged
    with pytest.raises(ServiceError, match="does not run"):
        plane.wait("m", 60)
    running(plane)
    assert plane.observe("m").converged
    assert plane.wait("m", 1).url == "http://127.0.0.1:1"
    plane.apply("m", replace(WANTED, stable=B))
    assert not plane.observe("m").converged, "nobody looked at the change yet"
    with pytest.raises(ServiceError, match=r"after 0\.2 s|is starting"):
        plane.wait("m", 0.2)


def test_a_refused_version_is_told_at_once(tmp_path: Path) -> None:
    plane = LocalPlane(tmp_path)
    plane.apply("m", WANTED)
    running(plane)
    refused = ObservedVariant("stable", phase="ready", error="model.onnx was altered")
    plane.state.observe(ObservedService("m", 1, variants=(refused,)))
    with pytest.raises(ServiceError, match=r"stable: model\.onnx was altered"):
        plane.wait("m", 60)


def test_a_plane_whose_supervisor_is_gone_is_stopped_without_it(tmp_path: Path) -> None:
    plane = LocalPlane(tmp_path)
    assert plane.stop(1) is False
    gone = ProcessId(os.getpid(), "1")
    plane.state.write_record(PlaneRecord(gone, phase="running", url="http://x", processes=(gone,)))
    assert plane.stop(1) is False, "what it left has ended too"
    record = plane.state.record()
    assert record is not None
    assert (record.phase, record.url) == ("stopped", "")


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "plane.json").write_text(json.dumps({"supervisor": 3}))
    with pytest.raises(IntegrityError, match=r"plane\.json"):
        PlaneState(tmp_path).record()
    PlaneState(tmp_path).change("m", lambda _: WANTED)
    (tmp_path / "services/m/desired.json").write_text("{}")
    with pytest.raises(IntegrityError, match="no desired state"):
        PlaneState(tmp_path).desired("m")


def test_a_crash_is_answered_at_once_and_crashes_in_a_row_later_and_later() -> None:
    crashes, waits = Crashes(), []
    for _ in range(9):
        crashes.add(-9, 1.0, 100.0)
        waits.append(crashes.next_start - 100.0)
    assert waits == [0, 0.5, 1, 2, 4, 8, 15, 15, 15]
    crashes.add(1, 31.0, 200.0)
    assert (crashes.next_start, crashes.count, crashes.last_exit) == (200.0, 10, "exit code 1")


def test_a_free_port_is_not_one_that_connections_get() -> None:
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    port = free_port()
    assert not low <= port <= high


def test_a_controller_that_was_replaced_is_refused_and_a_new_one_changes_nothing(tmp_path: Path) -> None:
    plane = LocalPlane(tmp_path)
    first = DesiredService("shop", Variant("shop@1", "1", "a" * 64, "/b"), fence=3)
    plane.apply("shop", first)
    with pytest.raises(ConflictError, match="the fence 3 took 'shop' over"):
        plane.apply("shop", replace(first, fence=2))
    plane.apply("shop", replace(first, fence=4))
    found = plane.state.desired("shop")
    assert found is not None and (found[0].fence, found[1]) == (4, 1)  # the generation is as it was
