"""Rollouts under faults, judged by the world's own log of the traffic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from cd4ml.delivery.controller import Controller
from cd4ml.delivery.evidence.source import Collected
from cd4ml.domain.rollout.state import Phase
from cd4ml.errors import Cd4mlError, ConflictError, ServiceError
from cd4ml.problem import Rollout as Policy
from tests.delivery.fake_plane import LEASE_SECONDS, SERVICE, Killed, Scene, World

POLICY = Policy(
    canary_percent=[10, 50],
    shadow_requests=500,
    min_requests=1000,
    step_seconds=1200,
    ready_seconds=120,
    watch_seconds=30,
)
KINDS = {
    "good": {},
    "equal, slow to start": {"delay": 4},
    "fails often": {"candidate_errors": 0.3},
    "never ready": {"delay": -1},
    "other answers": {"verifies": False},
}
ROLLOUTS = 500
SAFE_AT_ONCE = 10


@dataclass
class Faults:
    """What goes wrong at a call, by chance."""

    scene: Scene
    random: np.random.Generator
    rate: float
    seen: list[Any] = field(default_factory=list)
    collected: list[Any] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    depth: int = 0

    def __call__(self, part: str, name: str, act: Callable[[], Any]) -> Any:
        if name in ("clock", "url"):
            return act()
        if self.random.random() >= self.rate:
            return self._kept(name, act())
        kind = self.random.choice(
            ["before", "after", "timeout", "kill", "killed after", "stall", "lie", "clock"]
        )
        self.counts[str(kind)] += 1
        return getattr(self, f"_{kind.replace(' ', '_')}")(part, name, act)

    def _kept(self, name: str, found: Any) -> Any:
        if name == "observe":
            self.seen.append(found)
        if name == "collect":
            self.collected.append(found)
        return found

    def _before(self, part: str, name: str, act: Callable[[], Any]) -> Any:
        raise (ConflictError if name in ("compare_and_swap", "apply") else ServiceError)("503")

    def _after(self, part: str, name: str, act: Callable[[], Any]) -> Any:
        act()
        raise ServiceError("the answer was lost")

    def _timeout(self, part: str, name: str, act: Callable[[], Any]) -> Any:
        raise TimeoutError("timed out")

    def _kill(self, part: str, name: str, act: Callable[[], Any]) -> Any:
        raise Killed

    def _killed_after(self, part: str, name: str, act: Callable[[], Any]) -> Any:
        act()
        raise Killed

    def _stall(self, part: str, name: str, act: Callable[[], Any]) -> Any:
        """Sleep longer than the lease; another controller takes over meanwhile, and this one goes on."""
        if self.depth:
            return act()
        self.depth += 1
        try:
            other = self.scene.controller(self)
            self.scene.world.now += LEASE_SECONDS + 1
            for _ in range(int(self.random.integers(1, 8))):
                self.scene.world.step()
                _looked(other)
        finally:
            self.depth -= 1
        return act()

    def _lie(self, part: str, name: str, act: Callable[[], Any]) -> Any:
        """Observations come twice and out of order; evidence is missing or that of before."""
        found = self._kept(name, act())
        if name == "observe":
            return self.seen[int(self.random.integers(len(self.seen)))]
        if name == "collect":
            return Collected(()) if self.random.random() < 0.5 else Collected((), ("silent",))
        return found

    def _clock(self, part: str, name: str, act: Callable[[], Any]) -> Any:
        """The controllers' clock jumps for this call."""
        jump = float(self.random.choice([-3600.0, -20.0, 20.0, 86_400.0]))
        self.scene.world.clock_offset += jump
        try:
            return self._kept(name, act())
        finally:
            if self.random.random() < 0.9:
                self.scene.world.clock_offset -= jump


def _looked(controller: Controller) -> bool:
    """Tell whether a controller survived a look."""
    try:
        controller.tick(SERVICE)
    except Killed:
        return False
    except (Cd4mlError, OSError):
        pass
    return True


def _judge(scene: Scene, kind: str) -> None:
    """Hold what happened, by the world's log, against what must never happen."""
    log, rollout = scene.world.log, scene.rollout
    whole = [one.requests[1] == scene.world.per_interval for one in log]
    promotions = sum(now and not before for before, now in pairwise([False, *whole]))
    assert promotions <= 1, "it was promoted twice"
    moves = [change.to_version for change in scene.registry.history("shop")]
    assert moves in ([1], [1, 2], [1, 2, 1]), f"the champion went {moves}"
    if promotions:
        assert kind in ("good", "equal, slow to start"), f"a candidate that is '{kind}' was promoted"
        before = log[: whole.index(True)]
        assert sum(one.copied for one in before) >= POLICY.shadow_requests
        for percent in POLICY.canary_percent:
            step = sum(sum(one.requests) for one in before if one.share == percent / 100)
            assert step >= POLICY.min_requests, f"{step} requests at {percent} %"
    for one in log:
        assert one.share in (0, *(percent / 100 for percent in POLICY.canary_percent))
    if kind in ("never ready", "other answers"):
        assert sum(one.requests[1] for one in log) == 0
    serving = "2" if rollout.phase is Phase.PROMOTED else "1"
    assert rollout.ended and rollout.converged_at_seconds, f"{rollout.phase} waits for {rollout.waiting}"
    assert scene.world.actual.variants.keys() == {"stable"}
    assert (scene.world.actual.stable.version, str(scene.champion)) == (serving, serving)
    phases = [Phase.VERIFY, *(entry.phase for entry in rollout.history)]
    entered = [now for before, now in pairwise(phases) if now is not before]
    assert entered.count(Phase.WATCH) <= 1


def _adventure(seed: int) -> tuple[str, Phase, Counter[str]]:
    random = np.random.Generator(np.random.PCG64(seed))
    kind = list(KINDS)[seed % len(KINDS)]
    scene = Scene(World(seed, **KINDS[kind]), POLICY)
    faults = Faults(scene, random, rate=float(random.choice([0.005, 0.02, 0.1])))
    controllers = [scene.controller(faults)]
    for _ in range(80):
        scene.world.step()
        if random.random() < 0.01:
            word = str(random.choice(["pause", "resume", "resume", "dance", "approve", "abort"]))
            scene.store.ask(scene.rollout, word, "ann", "because", scene.world.now)
        one = int(random.integers(len(controllers)))
        if not _looked(controllers[one]):
            controllers[one] = scene.controller(faults)
        if random.random() < 0.05:  # one more, while the old ones go on
            controllers = [*controllers[-2:], scene.controller(faults)]
    # Faults end; what was left is seen through by whoever comes last.
    scene.world.now += LEASE_SECONDS + 86_400
    scene.world.clock_offset = 0.0
    last = scene.controller()
    if not scene.rollout.ended:
        scene.store.ask(scene.rollout, "resume", "ann", "", scene.world.now)
    for _ in range(500):
        scene.world.step()
        _looked(last)
        if scene.rollout.ended and scene.rollout.converged_at_seconds:
            break
    _judge(scene, kind)
    return kind, scene.rollout.phase, faults.counts


def _adventures(seeds: range) -> tuple[int, int]:
    """Go through rollouts that hold what they must; return how many, and how many faults there were."""
    ends: Counter[tuple[str, Phase]] = Counter()
    faults: Counter[str] = Counter()
    for seed in seeds:
        kind, phase, counts = _adventure(seed)
        ends[kind, phase] += 1
        faults += counts
    good = [count for (kind, phase), count in ends.items() if kind == "good" and phase is Phase.PROMOTED]
    assert sum(good) >= len(seeds) / len(KINDS) / 2, f"hardly any good one was promoted: {ends}"
    assert len(faults) == 8, f"faults that never happened: {faults}"
    return sum(ends.values()), faults.total()


def test_rollouts_under_faults_end_as_they_should() -> None:
    rollouts, faults = _adventures(range(40))
    assert rollouts == 40 < faults


@pytest.mark.faults
def test_many_rollouts_under_faults_end_as_they_should() -> None:
    rollouts, faults = _adventures(range(1000, 1000 + ROLLOUTS))
    assert rollouts == ROLLOUTS < faults


class At:
    """Ends the process at one call, before or after it took place."""

    def __init__(self, number: int, after: bool) -> None:
        self.number, self.after, self.calls = number, after, 0

    def __call__(self, part: str, name: str, act: Callable[[], Any]) -> Any:
        self.calls += 1
        if self.calls != self.number:
            return act()
        if self.after:
            act()
        raise Killed


def _killed_at(number: int, after: bool, kind: str = "good") -> int:
    scene, hook = Scene(World(7, per_interval=3000, **KINDS[kind]), POLICY), At(number, after)
    controller = scene.controller(hook)
    for _ in range(60):
        scene.world.step()
        if not _looked(controller):
            scene.world.now += LEASE_SECONDS + 1
            controller = scene.controller()
        if scene.rollout.ended and scene.rollout.converged_at_seconds:
            break
    _judge(scene, kind)
    expected = Phase.PROMOTED if kind == "good" else Phase.ROLLED_BACK
    assert scene.rollout.phase is expected
    return hook.calls


@pytest.mark.parametrize("kind", ["good", "fails often"])
def test_a_controller_may_be_killed_at_some_of_its_calls(kind: str) -> None:
    calls = _killed_at(0, after=False, kind=kind)
    assert calls > 100
    for number in range(1, calls + 1, 17):
        _killed_at(number, number % 2 == 0, kind)


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["good", "fails often"])
def test_a_controller_may_be_killed_at_each_of_its_calls(kind: str) -> None:
    calls = _killed_at(0, after=False, kind=kind)
    assert calls > 100
    for number in range(1, calls + 1):
        for after in (False, True):
            _killed_at(number, after, kind)
