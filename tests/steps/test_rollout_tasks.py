"""Tasks wait for a controller, tell the truth about how a rollout ended, and can be run again."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from cd4ml.domain.rollout.state import Phase
from cd4ml.errors import RolledBack, ServiceError, UsageError
from cd4ml.steps.rollout_tasks import Patience, await_phase, conclude, leave_stable, write_rollout_page
from tests.adapters.s3_server import environment, mock_credentials
from tests.pipelines.rollout_world import GOOD, HARM, MODEL, QUICK, SERVICE, make_world, started

SOON = Patience(wait_seconds=20.0, silent_seconds=20.0, look_seconds=0.02)


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


def waited(world, rollout, phase, patience=SOON, **more):
    return await_phase(
        SERVICE, rollout, phase, world.store, world.root / "page.html", patience=patience, **more
    )


def left(world, version="2", run="", **patience):
    return leave_stable(SERVICE, MODEL, version, world.store, run=run, patience=SOON._replace(**patience))


def test_a_good_candidate_passes_each_phase_and_is_concluded_as_promoted(world):
    world.good_until_the_end()
    with world.controlled():
        rollout = started(world)
        for phase in ("verify", "shadow", "canary", "approval", "watch"):
            reached, numbers = waited(world, rollout, phase)
            assert reached == "passed"
    decision, version, reasons = conclude(SERVICE, rollout, world.store)
    assert (decision, version) == ("promoted", "2")
    assert reasons[0].startswith("watched for")
    assert numbers["canary_percent"] == 100.0
    assert numbers["steps"] == 6  # start, shadow, two steps of the canary, watch, promoted
    assert world.plane.shares == [(0, 0), (100, 0), (0, 10), (0, 50), (0, 0)]


def test_a_harmful_candidate_fails_the_wait_with_exit_code_five_and_the_page_says_why(world):
    world.evidence.told = {Phase.SHADOW: GOOD, Phase.CANARY: HARM}
    with world.controlled():
        rollout = started(world)
        assert waited(world, rollout, "shadow")[0] == "passed"
        with pytest.raises(RolledBack, match=r"bikes@2 was not promoted .*bikes@1 serves 'bikes'") as error:
            waited(world, rollout, "watch")
        assert waited(world, rollout, "watch", on_rollback="tell")[0] == "rolled_back"
    assert error.value.exit_code == 5
    assert conclude(SERVICE, rollout, world.store)[:2] == ("rolled_back", "1")
    page = (world.root / "page.html").read_text()
    assert "bikes@2 is taken back" in page
    assert world.current.history[-1].reasons[0].split()[0] in page
    assert world.plane.shares[-1] == (0, 0)


def test_blue_green_gives_the_candidate_all_requests_after_the_shadow_and_never_a_share(world):
    world.good_until_the_end()
    with world.controlled():
        rollout = started(world, {**QUICK, "strategy": "blue_green"})
        assert waited(world, rollout, "canary")[0] == "passed"
        assert waited(world, rollout, "watch")[0] == "passed"
    assert world.plane.shares == [(0, 0), (100, 0), (0, 0)]
    assert world.plane.desired.stable.version == "2"


def test_a_rollout_waits_for_a_person_where_the_policy_says_so(world):
    world.good_until_the_end()
    with world.controlled():
        rollout = started(world, {**QUICK, "automatic": False})
        assert waited(world, rollout, "canary")[0] == "passed"
        with pytest.raises(ServiceError, match="approval, a person has to approve it; run again"):
            waited(world, rollout, "approval", SOON._replace(wait_seconds=0.3))
        world.ask("approve")
        assert waited(world, rollout, "approval")[0] == "passed"
        assert waited(world, rollout, "watch")[0] == "passed"
    assert world.current.approved_by == "ada"
    write_rollout_page(SERVICE, rollout, world.store, world.root / "again.html")
    page = (world.root / "again.html").read_text()
    assert "bikes@2 is promoted" in page
    assert "for the test" in page


def test_a_wait_that_was_killed_is_taken_up_by_another_process(world):
    rollout = started(world)
    code = (
        "from cd4ml.steps.rollout_tasks import await_phase; from pathlib import Path; import sys;"
        "await_phase(*sys.argv[1:5], Path(sys.argv[5]), patience=(0.0, 60.0, 0.02))"
    )
    arguments = [SERVICE, rollout, "watch", world.store, str(world.root / "page.html")]
    with world.controlled():
        waiting = subprocess.Popen([sys.executable, "-c", code, *arguments])
        world.until(Phase.SHADOW)
        end = time.monotonic() + 20
        while not (world.root / "page.html").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        waiting.send_signal(signal.SIGKILL)
        assert waiting.wait() == -signal.SIGKILL
        assert world.current.phase is Phase.SHADOW
        world.good_until_the_end()
        assert started(world) == rollout
        assert waited(world, rollout, "watch")[0] == "passed"


def test_a_wait_that_nobody_looks_after_ends_and_says_so(world):
    rollout = started(world)
    with pytest.raises(ServiceError, match=r"nothing has happened .* see that its controller runs"):
        waited(world, rollout, "verify", SOON._replace(silent_seconds=0.1))


def test_a_store_that_cannot_be_reached_is_waited_for_and_then_told(tmp_path):
    with environment(**mock_credentials(), CD4ML_S3_ENDPOINT="http://127.0.0.1:9"):
        began = time.monotonic()
        with pytest.raises(ServiceError, match=r"nothing has happened .*: the store .*run again"):
            await_phase(
                "s",
                "r-1",
                "watch",
                "s3://bucket/store",
                tmp_path / "p",
                patience=SOON._replace(silent_seconds=0.3),
            )
        assert time.monotonic() - began > 0.3


def test_a_phase_or_a_behaviour_that_is_none_is_refused(world):
    rollout = started(world)
    with pytest.raises(UsageError, match="did you mean 'canary'"):
        waited(world, rollout, "canari")
    with pytest.raises(UsageError, match="'fail' or 'tell'"):
        waited(world, rollout, "canary", on_rollback="ignore")
    with pytest.raises(ServiceError, match="to have ended"):
        conclude(SERVICE, rollout, world.store)


def test_what_fails_half_way_leaves_the_stable_version_and_doing_so_again_does_nothing(world):
    world.evidence.told = {Phase.SHADOW: GOOD}
    with world.controlled():
        started(world, run="a")
        world.until(Phase.CANARY)
        assert left(world, run="a") == "aborted"
        assert world.plane.desired.stable.version == "1"
        assert world.plane.desired.canary is None
        assert left(world, run="a") == "nothing"
    assert [one.command for one in world.rollouts.commands(world.current)] == ["abort"]


def test_a_rollout_of_another_version_or_run_and_one_that_never_was_are_left_alone(world):
    assert left(world) == "nothing"
    started(world, run="b")
    assert left(world, "1", run="b") == "nothing"
    assert left(world, "9", run="b") == "nothing"
    assert left(world, "", run="b") == "nothing"
    assert left(world, run="a") == "nothing"
    assert left(world) == "nothing"
    assert world.rollouts.commands(world.current) == []


def test_the_run_that_took_a_rollout_up_last_answers_for_it(world):
    started(world, run="a")
    started(world, run="b")
    with world.controlled():
        assert left(world, run="a") == "nothing"
        assert left(world, run="b") == "aborted"


def test_without_a_controller_the_command_to_stop_waits_in_the_store_and_is_given_once(world):
    started(world)
    for _ in range(2):
        with pytest.raises(ServiceError, match="see that its controller runs"):
            left(world, silent_seconds=0.1)
    assert [one.command for one in world.rollouts.commands(world.current)] == ["abort"]
    with world.controlled():
        assert left(world) == "aborted"


def test_an_end_that_the_plane_has_not_followed_yet_is_waited_for(world):
    with world.controlled():
        started(world)
        world.until(Phase.SHADOW)
        world.plane.stuck = True
        world.ask("rollback")
        world.until(Phase.ROLLED_BACK)
        with pytest.raises(ServiceError, match="rolled_back"):
            left(world, wait_seconds=0.2)
        threading.Timer(0.1, lambda: setattr(world.plane, "stuck", False)).start()
        assert left(world) == "rolled_back"
        assert left(world) == "nothing"
