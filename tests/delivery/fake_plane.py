"""A small world: a plane that takes its time, traffic, a log that nobody but the world writes, and faults."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.rollouts import RolloutStore
from cd4ml.adapters.storage.documents import encode
from cd4ml.delivery.champion import RegistryChampion
from cd4ml.delivery.controller import Controller
from cd4ml.delivery.evidence.source import Collected
from cd4ml.delivery.evidence.units import EventMetric
from cd4ml.delivery.plane import DesiredService, ObservedService, ObservedVariant, Variant
from cd4ml.delivery.verifier import Verified
from cd4ml.domain.rollout.decide import Verification
from cd4ml.domain.rollout.state import Phase, Rollout, Target
from cd4ml.errors import ConflictError, NotFoundError, ServiceError
from cd4ml.problem import Rollout as Policy

SERVICE = "shop"
OLD, NEW = Target("shop@1", "1", "a" * 64), Target("shop@2", "2", "b" * 64)
STABLE_ERRORS = 0.02
LEASE_SECONDS = 30.0


class Killed(BaseException):
    """The end of a process: nothing catches it."""


class MemoryStorage:
    """A store with compare-and-swap, in memory."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}

    def get(self, key: str) -> bytes:
        if key not in self.data:
            raise NotFoundError(f"no '{key}'")
        return self.data[key]

    def put(self, key: str, data: bytes) -> None:
        self.data[key] = data

    def exists(self, key: str) -> bool:
        return key in self.data

    def list(self, prefix: str) -> list[str]:
        return sorted(key for key in self.data if key.startswith(prefix))

    def read_versioned(self, key: str) -> tuple[bytes, str] | None:
        return (self.data[key], _token(self.data[key])) if key in self.data else None

    def compare_and_swap(self, key: str, data: bytes, expected: str | None) -> str:
        found = self.read_versioned(key)
        if (found[1] if found else None) != expected:
            raise ConflictError(f"'{key}' was changed by another writer")
        self.data[key] = data
        return _token(data)

    def delete(self, key: str) -> None:
        self.data.pop(key, None)

    def url(self, key: str) -> str:
        return f"memory://{key}"


def _token(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Interval:
    """What happened between two moments, as the world saw it."""

    at_seconds: float
    share: float
    stable: str
    requests: tuple[int, int]
    """Answered by the version "1" and by "2"."""
    errors: tuple[int, int]
    copied: int
    copies_failed: int


@dataclass
class World:
    """Time, traffic and a plane.

    Attributes
    ----------
    candidate_errors : float
        How often version 2 fails.
    delay : int
        Intervals until the plane does what it was asked; -1 for a candidate that never becomes ready.
    """

    seed: int = 0
    candidate_errors: float = STABLE_ERRORS
    delay: int = 1
    verifies: bool = True
    per_interval: int = 400
    now: float = 1000.0
    clock_offset: float = 0.0
    log: list[Interval] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.Generator(np.random.PCG64(self.seed))
        first = DesiredService(SERVICE, _variant(OLD))
        self.desired = self.actual = first
        self.generation, self._wait = 1, 0
        self.refused = 0

    def clock(self) -> float:
        return self.now + self.clock_offset

    def step(self, seconds: float = 5.0) -> None:
        """Let traffic flow, then let the plane go on."""
        self.now += seconds
        share = self.actual.canary_percent / 100
        others = int(self.random.binomial(self.per_interval, share))
        arms = [0, 0]
        arms[_arm(self.actual.stable)] += self.per_interval - others
        if self.actual.canary is not None:
            arms[_arm(self.actual.canary)] += others
        rates = (STABLE_ERRORS, self.candidate_errors)
        errors = [int(self.random.binomial(n, rate)) for n, rate in zip(arms, rates, strict=True)]
        copied = self.per_interval if self.actual.shadow is not None else 0
        failed = int(self.random.binomial(copied, self.candidate_errors))
        self.log.append(
            Interval(
                self.now, share, self.actual.stable.version, (arms[0], arms[1]),
                (errors[0], errors[1]), copied, failed,
            )
        )  # fmt: skip
        if self.delay >= 0 or self.desired.variants.keys() == {"stable"}:
            self._wait -= 1
            if self._wait <= 0:
                self.actual = self.desired

    # the two verbs of a plane

    def apply(self, service: str, desired: DesiredService) -> None:
        if desired.fence < self.desired.fence:
            self.refused += 1
            raise ConflictError("an older fence")
        if replace(desired, fence=0) != replace(self.desired, fence=0):
            self.generation += 1
            self._wait = max(self.delay, 0)
        self.desired = desired
        if replace(desired, fence=0) == replace(self.actual, fence=0):
            self.actual = desired

    def observe(self, service: str) -> ObservedService:
        known = [
            ObservedVariant(name, one.reference, one.version, one.bundle, "ready", True)
            for name, one in self.actual.variants.items()
        ]
        return ObservedService(
            service,
            self.generation,
            replace(self.actual, fence=0) == replace(self.desired, fence=0),
            "http://fake",
            self.actual.canary_percent,
            self.actual.mirror_percent,
            tuple(known),
        )

    # evidence and verification

    def collect(self, rollout: Rollout, policy: Policy, at_seconds: float) -> Collected:
        since = [one for one in self.log if one.at_seconds > rollout.converged_at_seconds]
        metric = EventMetric("errors", policy.max_error_ratio, policy.negligible_fraction)
        requests = 0
        for one in since:
            if rollout.phase is Phase.SHADOW:
                counts, events, share = (
                    (one.requests[0], one.copied),
                    (one.errors[0], one.copies_failed),
                    0.5,
                )
            else:
                counts, events, share = one.requests, one.errors, one.share
            if rollout.phase is not Phase.WATCH:
                metric.update_counts(counts, events, share)
            requests += sum(counts)
        return Collected((metric.evidence(policy.alpha),), (), requests)

    def verify(self, rollout: Rollout, observed: ObservedService) -> Verified:
        canary = observed.variant("canary")
        assert canary is not None and canary.version == "2", "it asks another version than the candidate"
        if self.verifies:
            return Verified(Verification.PASSED)
        return Verified(Verification.FAILED, ("row 3 differs",))


def _variant(target: Target) -> Variant:
    return Variant(target.reference, target.version, target.bundle, target.location)


def _arm(variant: Variant) -> int:
    return int(variant.version) - 1


class Hooked:
    """Any object, with something that happens at each call of one of its methods."""

    def __init__(self, inner: Any, name: str, hook: Callable[[str, str, Callable[[], Any]], Any]) -> None:
        self._inner, self._name, self._hook = inner, name, hook

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found
        return lambda *args, **named: self._hook(self._name, name, lambda: found(*args, **named))


def plain(part: str, name: str, act: Callable[[], Any]) -> Any:
    """No fault."""
    return act()


@dataclass
class Scene:
    """A world, its store, and controllers in it."""

    world: World
    policy: Policy
    storage: MemoryStorage = field(default_factory=MemoryStorage)
    made: int = 0

    def __post_init__(self) -> None:
        for target in (OLD, NEW):
            version = int(target.version)
            self.storage.data[f"models/shop/versions/{version}.json"] = encode(
                {"version": version, "bundle": target.bundle, "created": "", "verdict": "accept"}
            )
        self.registry = Registry(self.storage)
        self.registry.set_alias("shop", "champion", 1)
        self.store = RolloutStore(self.storage)
        self.store.start(Rollout("r1", SERVICE, NEW, OLD, model="shop"), self.policy.model_dump(mode="json"))

    def controller(self, hook: Callable[[str, str, Callable[[], Any]], Any] = plain) -> Controller:
        """Return another controller, whose calls to the outside go through `hook`."""
        self.made += 1
        storage = Hooked(self.storage, "storage", hook)
        world = Hooked(self.world, "world", hook)
        audit = AuditLog(storage)
        champion = RegistryChampion(Registry(storage), audit)
        return Controller(
            RolloutStore(storage), world, world, world, champion,
            self.world.clock, f"c{self.made}", LEASE_SECONDS, audit,
        )  # fmt: skip

    @property
    def rollout(self) -> Rollout:
        return self.store.current(SERVICE).rollout

    @property
    def champion(self) -> int | None:
        return self.registry.aliases("shop").get("champion")

    def go_on(self, controller: Controller, looks: int, until: Phase | None = None) -> None:
        """Let time pass and the controller look."""
        for _ in range(looks):
            self.world.step()
            try:
                controller.tick(SERVICE)
            except ServiceError:
                continue
            if until is not None and self.rollout.phase is until:
                return
