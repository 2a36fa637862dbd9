"""The demonstration: a better model takes over; a biased, a slow and a choosy one are stopped.

Everything is real but the shop: models go through the steps of the training pipeline and its judge, are
served behind the gateway, asked by callers of a program of their own, and rolled out by the controller.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import IO, TYPE_CHECKING, Any

from cd4ml.errors import Cd4mlError, ServiceError, UsageError
from cd4ml.steps.demo_shop import SERVICE, Shop, make_shop
from cd4ml.steps.demo_story import CASES, Case, Story, Told, told_by

if TYPE_CHECKING:
    from cd4ml.adapters.rollouts import RolloutStore
    from cd4ml.delivery.controller import Controller
    from cd4ml.domain.rollout.state import Rollout, Target
    from cd4ml.steps.demo_training import Trained

__all__ = ["Settings", "run_demo"]

_MARK = "demo.json"
_LOOK_SECONDS = 0.3
_READY_SECONDS = 90.0
_MOST_ROLLOUT_SECONDS = 180.0
_SLOW_SECONDS = 0.12
_GRACE_SECONDS = 5
Note = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How the demonstration is run.

    Attributes
    ----------
    out : Path
        Gets index.html, demo.json, traffic.jsonl and all that was made.
    seed : int
        Of the shop, the fits and the callers.
    keep : bool
        Leave the gateway and the models running.
    quick : bool
        Two rollouts: the better model and the slow one.
    rate : float
        Requests a second.
    """

    out: Path
    seed: int = 7
    keep: bool = False
    quick: bool = False
    rate: float = 110.0


def run_demo(settings: Settings, note: Note) -> Story:
    """Run it all; return what happened, whether or not that is what was expected.

    Raises
    ------
    UsageError
        If `out` has other files.
    ServiceError
        If something does not start, or a rollout comes to no end.
    """
    from cd4ml.adapters.envoy import find_envoy

    find_envoy()
    began = time.time()
    _clean(settings.out)
    with _terminable():
        return _Demo(settings, note, began).run()


class _Demo:
    """One run of the demonstration."""

    def __init__(self, settings: Settings, note: Note, began: float) -> None:
        from cd4ml.delivery.local.plane import LocalPlane

        self._settings, self._note, self._began = settings, note, began
        self._out = settings.out.resolve()
        self._store = str(self._out / "store")
        self._plane = LocalPlane(self._out / "serve")
        self._cases = [case for case in CASES if not settings.quick or case.quick]
        self._trained: dict[str, Trained] = {}

    def run(self) -> Story:
        self._say("a shop is simulated")
        shop = make_shop(self._out / "shop", self._settings.seed)
        with contextlib.ExitStack() as stack:
            with _trainer(self._store, self._out) as trainer:
                self._train(trainer, shop, "first")
                self._crown()
                stack.enter_context(self._serving())
                for name in dict.fromkeys(case.trained_as for case in self._cases):
                    self._train(trainer, shop, name)
            stack.enter_context(self._callers(shop))
            told = self._rollouts(shop)
        story = Story(
            seed=self._settings.seed,
            seconds=time.time() - self._began,
            rollouts=told,
            traffic=str(self._out / "traffic.jsonl"),
        )
        self._write(story)
        return story

    def _say(self, text: str) -> None:
        self._note(f"{time.time() - self._began:5.0f} s  {text}")

    def _train(self, trainer: subprocess.Popen[str], shop: Shop, name: str) -> None:
        from cd4ml.steps.demo_training import Trained

        out = self._out / "models" / name
        asked: dict[str, Any] = {
            "problem": str(shop.problem(name)),
            "data": str(shop.data(name)),
            "out": str(out),
        }
        asked["forced"] = any(case.forced for case in self._cases if case.name == name)
        reader, writer = _pipes(trainer)
        writer.write(json.dumps(asked) + "\n")
        writer.flush()
        line = reader.readline()
        if not line:
            raise ServiceError(f"the training of '{name}' ended; see '{self._out / 'training.log'}'")
        answer = json.loads(line)
        if "error" in answer:
            raise ServiceError(f"the training of '{name}' failed: {answer['error']}")
        found = self._trained[name] = Trained(**answer)
        self._say(
            f"'{name}' is trained: version {found.version}, judge: {found.decision}, rmsle {found.loss:.3f}"
        )

    def _crown(self) -> None:
        from cd4ml.steps.alias import move_alias

        first = self._trained["first"]
        move_alias(
            first.name, "champion", first.version, reason="first release", by="demo", store=self._store
        )

    @contextlib.contextmanager
    def _serving(self) -> Iterator[None]:
        """Serve the first model until the end."""
        from cd4ml.adapters.envoy import GatewaySettings
        from cd4ml.delivery.local.background import start_in_background
        from cd4ml.delivery.local.model_server import ServerSettings
        from cd4ml.delivery.local.supervisor import PlaneSettings
        from cd4ml.delivery.plane import DesiredService, Variant

        first = self._target(self._trained["first"].version, "stable")
        stable = Variant(first.reference, first.version, first.bundle, first.location)
        self._plane.apply(SERVICE, DesiredService(SERVICE, stable))
        settings = PlaneSettings(GatewaySettings(), ServerSettings(1, _GRACE_SECONDS))
        try:
            start_in_background(self._plane, settings, _READY_SECONDS)
            url = self._plane.wait(SERVICE, _READY_SECONDS).url
            self._say(f"version {first.version} serves at {url}")
            yield
        except BaseException:
            self._plane.stop(_READY_SECONDS)
            raise
        if not self._settings.keep:
            self._plane.stop(_READY_SECONDS)

    @contextlib.contextmanager
    def _callers(self, shop: Shop) -> Iterator[None]:
        from cd4ml.adapters.processes import Child
        from cd4ml.delivery.evidence.local import outcomes_folder

        options = {
            "url": self._plane.observe(SERVICE).url,
            "service": SERVICE,
            "requests": shop.requests,
            "log": self._out / "traffic.jsonl",
            "outcomes": outcomes_folder(self._plane.state.root, SERVICE),
            "rate": self._settings.rate,
            "seed": self._settings.seed,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "cd4ml.steps.demo_traffic", *words]
        child = Child(command, self._out / "traffic.log")
        self._say(f"callers ask {self._settings.rate:g} times a second")
        try:
            yield
        finally:
            child.stop(_READY_SECONDS)

    def _rollouts(self, shop: Shop) -> tuple[Told, ...]:
        from cd4ml.adapters.rollouts import RolloutStore
        from cd4ml.adapters.storage import open_store

        store = RolloutStore(open_store(self._store))
        controller = self._controller(store)
        found = []
        for case in self._cases:
            time.sleep(_SETTLE_SECONDS)
            found.append(self._rollout(case, shop, store, controller))
        return tuple(found)

    def _controller(self, store: RolloutStore) -> Controller:
        from cd4ml.adapters.audit import AuditLog
        from cd4ml.adapters.problem_files import load
        from cd4ml.adapters.registry import Registry
        from cd4ml.adapters.storage import open_store
        from cd4ml.delivery.champion import RegistryChampion
        from cd4ml.delivery.controller import Controller
        from cd4ml.delivery.evidence.local import LocalEvidence
        from cd4ml.delivery.evidence.losses import quality_of
        from cd4ml.delivery.verifier import EndpointVerifier

        storage = open_store(self._store)
        problem = load(str(self._out / "shop" / "first.yaml"))
        audit = AuditLog(storage)
        return Controller(
            store,
            self._plane,
            LocalEvidence(self._plane.state.root, quality_of(problem, ("date",))),
            EndpointVerifier(lambda target: Path(target.location)),
            RegistryChampion(Registry(storage), audit),
            time.time,
            "demo",
            audit=audit,
        )

    def _rollout(self, case: Case, shop: Shop, store: RolloutStore, controller: Controller) -> Told:
        """Roll one model out and wait for its end, telling of each step."""
        from cd4ml.domain.rollout.state import Entry, Phase, Rollout

        stable = self._target("champion", "stable")
        candidate = self._candidate(case)
        why = f"{candidate.reference} is to replace {stable.reference}"
        first = Entry(time.time(), Phase.VERIFY, 0.0, "demo", (why,))
        identity = f"demo-{case.name}"
        policy = self._policy(case)
        self._say(f"rollout '{case.name}' ({case.title}): version {candidate.version} for {stable.version}")
        store.start(Rollout(identity, SERVICE, candidate, stable, history=(first,), model=SERVICE), policy)
        ended = self._watched(case, controller)
        trail = store.kept(ended, "trail").get("points", [])
        look = store.kept(ended, "look")
        if trail and look.get("at_seconds", 0.0) > trail[-1]["at_seconds"]:
            trail.append(look)  # the look that decided: a trail leaves out what is close to the last point
        return told_by(case.of(shop), ended, policy, trail, time.time())

    def _watched(self, case: Case, controller: Controller) -> Rollout:
        from cd4ml.delivery.wanted import is_settled

        stop, seen, wrong = Event(), list["Rollout"](), list[str]()

        def report(_: str, rollout: Rollout | None, trouble: str) -> None:
            if trouble and trouble not in wrong:
                wrong.append(trouble)
            if rollout is None:
                return
            if not seen or len(rollout.history) > len(seen[-1].history):
                entry = rollout.history[-1]
                self._say(f"  {entry.phase}, {entry.canary_percent:g} %: {'; '.join(entry.reasons)[:200]}")
            seen.append(rollout)
            if is_settled(rollout):
                stop.set()

        runner = Thread(
            target=controller.run,
            args=(stop, [SERVICE], _LOOK_SECONDS, report),
            name="controller",
            daemon=True,
        )
        runner.start()
        try:
            if not stop.wait(_MOST_ROLLOUT_SECONDS):
                waiting = "; ".join((*(seen[-1].waiting if seen else ()), *wrong))
                raise ServiceError(f"the rollout '{case.name}' came to no end: {waiting}")
        finally:
            stop.set()
            runner.join(_READY_SECONDS)
        return seen[-1]

    def _candidate(self, case: Case) -> Target:
        """Return what a case rolls out; the slow one is made now, from the model that it copies."""
        if not case.copied:
            return self._target(self._trained[case.name].version, "canary", case.forced)
        from cd4ml.adapters.registry import Registry
        from cd4ml.adapters.storage import open_store
        from cd4ml.steps.demo_slow import slow_copy

        source = self._out / "models" / case.trained_as / "bundle"
        bundle = slow_copy(source, self._out / "models" / case.name / "bundle", _SLOW_SECONDS)
        version = Registry(open_store(self._store)).push(bundle, SERVICE)
        return self._target(str(version.version), "canary", case.forced)

    def _target(self, ref: str, role: str, forced: str = "") -> Target:
        from cd4ml.domain.rollout.state import Target
        from cd4ml.steps.serve import Permission, fetch_variant

        permission = Permission(bool(forced), forced, "demo", self._store)
        _, found = fetch_variant((SERVICE, ref), self._plane.state.bundles, role, permission)
        reference = f"{SERVICE}@{found.version}"
        return Target(reference, found.version, found.bundle, found.location)

    def _policy(self, case: Case) -> dict[str, Any]:
        from cd4ml.adapters.problem_files import load

        policy = load(str(self._out / "shop" / f"{case.trained_as}.yaml")).rollout
        return {**policy.model_dump(mode="json"), **case.policy}

    def _write(self, story: Story) -> None:
        from cd4ml.adapters.storage import atomic
        from cd4ml.reports.demo_page import demo_page

        document = story.to_dict()
        atomic.write_json(self._out / _MARK, document)
        atomic.write_text(self._out / "index.html", demo_page(document))


_SETTLE_SECONDS = 1.0
"""Between two rollouts, so that the page shows them apart."""


def _clean(out: Path) -> None:
    """Remove an earlier demonstration, with what it left running; refuse to touch anything else."""
    from cd4ml.adapters.storage import atomic
    from cd4ml.delivery.local.plane import LocalPlane

    mark = out / _MARK
    if out.exists() and any(out.iterdir()) and not mark.is_file():
        raise UsageError(f"'{out}' has files that are not of a demonstration; name another folder with --out")
    if mark.is_file():
        LocalPlane(out / "serve").stop(_READY_SECONDS)
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    atomic.write_json(mark, {})


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Make SIGTERM end the demonstration as Ctrl-C does, so that nothing is left running."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _trainer(store: str, out: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the process that trains; it ends when its input does."""
    with (out / "training.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "cd4ml.steps.demo_training", "--store", store],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(OSError, ValueError):
            process.communicate(timeout=_READY_SECONDS)


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    if process.stdout is None or process.stdin is None:
        raise Cd4mlError("the training process has no pipes")
    return process.stdout, process.stdin
