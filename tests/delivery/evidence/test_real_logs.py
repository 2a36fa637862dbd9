"""Evidence from the logs that a real gateway and real model servers write."""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from cd4ml.adapters.access_log import AccessLog
from cd4ml.adapters.outcome_log import Outcome, OutcomeLog
from cd4ml.delivery.evidence.local import LocalEvidence, outcomes_folder
from cd4ml.delivery.evidence.losses import Quality
from cd4ml.delivery.evidence.source import Collected
from cd4ml.domain.rollout.state import Phase, Rollout, Target
from cd4ml.problem import Rollout as Policy
from tests.delivery.evidence.traffic import named
from tests.delivery.running_plane import PATH, SERVICE, Caller, Running, desired, running

pytestmark = [pytest.mark.serving, pytest.mark.timeout(300)]
STABLE, CANDIDATE = Target("people@0", "0", "b0"), Target("people@1", "1", "b1")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("plane"), desired(0)) as found:
        yield found


def began(phase: Phase) -> Rollout:
    return Rollout("r", SERVICE, CANDIDATE, STABLE, phase, converged_at_seconds=time.time())


def later(plane: Running, rollout: Rollout, policy: Policy) -> Collected:
    """Collect when all logs are written, as half a minute later."""
    time.sleep(2)
    source = LocalEvidence(plane.plane.state.root, Quality("log loss"))
    return source.collect(rollout, policy, time.time() + 30)


def test_a_shadow_is_paired_by_request_id_and_with_outcomes(plane: Running) -> None:
    plane.become(desired(0, shadow=1, mirror_percent=100))
    rollout = began(Phase.SHADOW)
    caller = Caller(plane.url)
    ids = [caller.ask(number % 9).headers["ce-id"] for number in range(200)]
    root = plane.plane.state.root
    log = OutcomeLog(outcomes_folder(root, SERVICE))
    log.append(Outcome(name, 0, float(number % 2)) for number, name in enumerate(ids))
    found = later(plane, rollout, Policy(slices=["plan"]))
    assert found.holds == ()
    assert found.requests == 200
    assert named(found, "shadow errors").units == 200
    assert named(found, "answers that differ").estimate > 0
    assert named(found, "log loss").units == 200
    assert 0 < named(found, "log loss, plan=").units < 200


@pytest.mark.parametrize("sticky", ["header:X-User", "cookie:who"])
def test_a_sticky_caller_is_a_unit_of_the_log(plane: Running, sticky: str) -> None:
    plane.become(desired(0, canary=1, canary_percent=50, sticky=sticky))
    rollout = began(Phase.CANARY)
    caller = Caller(plane.url)
    for number in range(200):
        user = f"user-{number % 40}"
        headers = {"X-User": user} if sticky.startswith("header") else {"Cookie": f"a=b; who={user}"}
        assert caller.ask(0, headers).status == 200
    caller.ask(0, {"X-Cd4ml-Variant": "canary"})
    found = later(plane, rollout, Policy(sticky=sticky, canary_percent=[50]))
    assert found.holds == ()
    assert found.requests == 200
    assert named(found, "errors").units == 40
    lines = list(AccessLog(plane.plane.state.logs / "access.jsonl").read())
    mine = [line for line in lines if line.at_seconds >= rollout.converged_at_seconds]
    assert {line.unit for line in mine if line.by_chance} == {f"user-{number}" for number in range(40)}
    assert [line.variant for line in mine if not line.by_chance] == ["canary"]


def test_requests_that_are_refused_are_in_the_log(plane: Running) -> None:
    plane.become(desired(0, canary=1, canary_percent=50))
    rollout = began(Phase.CANARY)
    caller = Caller(plane.url)
    for _ in range(50):
        assert caller.ask(0).status == 200
    request = urllib.request.Request(f"{plane.url}{PATH}", b'{"instances": [{"age": "old"}]}')
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 400
    found = later(plane, rollout, Policy(canary_percent=[50]))
    assert found.requests == 51
    assert found.holds == ()
    assert len(AccessLog(plane.plane.state.logs / "access.jsonl").damaged) == 0
    assert named(found, "refused requests").units == 51
    lines = list(AccessLog(plane.plane.state.logs / "access.jsonl").read())
    assert (lines[-1].refused, lines[-1].failed) == (True, False)
