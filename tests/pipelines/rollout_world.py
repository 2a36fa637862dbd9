"""A store with a champion and another model, and a controller with plane and evidence in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cd4ml.adapters.registry import Registry
from cd4ml.adapters.rollouts import RolloutStore
from cd4ml.adapters.storage import FolderStorage
from cd4ml.delivery.champion import RegistryChampion
from cd4ml.delivery.controller import Controller
from cd4ml.delivery.evidence.source import Collected
from cd4ml.delivery.plane import DesiredService, ObservedService, ObservedVariant
from cd4ml.delivery.verifier import Verified
from cd4ml.domain.rollout.decide import Verification
from cd4ml.domain.rollout.state import Phase, Rollout
from cd4ml.domain.sequential.verdict import Evidence
from tests.steps.governed import make_governed

MODEL, SERVICE = "bikes", "bikes"
QUICK = {"watch_seconds": 0, "min_requests": 1, "shadow_requests": 1, "canary_percent": [10, 50]}
GOOD = Evidence("errors", -1.0, 50.0, 1000)
HARM = Evidence("errors", 50.0, -1.0, 1000)


@dataclass
class MemoryPlane:
    """Takes every state at once, and remembers the shares that the candidate ever had."""

    desired: DesiredService | None = None
    shares: list[tuple[float, float]] = field(default_factory=list)
    stuck: bool = False

    def apply(self, service: str, desired: DesiredService) -> None:
        self.desired = desired
        share = (desired.mirror_percent, desired.canary_percent)
        if not self.shares or self.shares[-1] != share:
            self.shares.append(share)

    def observe(self, service: str) -> ObservedService:
        shall = self.desired
        if shall is None or self.stuck:
            return ObservedService(service)
        variants = tuple(
            ObservedVariant(name, one.reference, one.version, one.bundle, "ready", True)
            for name, one in shall.variants.items()
        )
        shares = shall.canary_percent, shall.mirror_percent
        return ObservedService(service, 1, True, "http://nowhere", *shares, variants)


@dataclass
class ToldEvidence:
    """Has for each phase what the test says; none where it says nothing."""

    told: dict[Phase, Evidence]

    def collect(self, rollout: Rollout, policy: object, at_seconds: float) -> Collected:
        found = self.told.get(rollout.phase)
        return Collected((found,) if found else (), (), 1000 if found else 0)


class Passing:
    """Verifies everything."""

    def verify(self, rollout: Rollout, observed: ObservedService) -> Verified:
        return Verified(Verification.PASSED)


@dataclass
class World:
    """A store and what happens on it."""

    root: Path
    plane: MemoryPlane = field(default_factory=MemoryPlane)
    evidence: ToldEvidence = field(default_factory=lambda: ToldEvidence({}))

    @property
    def store(self) -> str:
        return str(self.root / "store")

    @property
    def storage(self) -> FolderStorage:
        return FolderStorage(self.store)

    @property
    def registry(self) -> Registry:
        return Registry(self.storage)

    @property
    def rollouts(self) -> RolloutStore:
        return RolloutStore(self.storage)

    @property
    def current(self) -> Rollout:
        return self.rollouts.current(SERVICE).rollout

    def add(self, name: str, decision: str = "accept") -> Path:
        """Register a model; return its bundle."""
        bundle = make_governed(self.root / name, name, decision)
        self.registry.register(MODEL, bundle, {"verdict": decision})
        return bundle

    def good_until_the_end(self) -> None:
        self.evidence.told |= dict.fromkeys((Phase.SHADOW, Phase.CANARY, Phase.APPROVAL, Phase.WATCH), GOOD)

    def ask(self, command: str) -> None:
        self.rollouts.ask(self.current, command, "ada", "for the test", time.time())

    def until(self, phase: Phase, seconds: float = 20.0) -> None:
        """Wait until the rollout is in a phase."""
        end = time.monotonic() + seconds
        while not (SERVICE in self.rollouts.services() and self.current.phase is phase):
            assert time.monotonic() < end, f"the rollout did not come to {phase}"
            time.sleep(0.02)

    @contextmanager
    def controlled(self) -> Iterator[World]:
        """Let a controller look after the rollouts meanwhile."""
        stop = threading.Event()
        parts = (self.rollouts, self.plane, self.evidence, Passing(), RegistryChampion(self.registry))
        controller = Controller(*parts, time.time, f"thread {time.monotonic()}")
        thread = threading.Thread(target=controller.run, args=(stop, [SERVICE], 0.02))
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()


def make_world(root: Path) -> World:
    """Return a store in which version 1 is the champion and version 2 was accepted."""
    world = World(root)
    for name in ("old", "new"):
        world.add(name)
    world.registry.set_alias(MODEL, "champion", 1)
    return world


def started(world: World, policy: Mapping[str, Any] = QUICK, **more: Any) -> str:
    """Start the rollout of version 2 and return its id."""
    from cd4ml.steps.rollout_start import start_rollout

    return start_rollout(MODEL, "2", SERVICE, world.store, policy=policy, **more)
