"""Following an alias of the registry: look, fetch, verify, prepare, swap, and go back.

What a bundle is made into before it is used (a loaded model, or nothing more than a checked folder) is the
caller's to say. One thread looks at the store; a second one listens for events, if there is an address. An
event says nothing but "look now": what the alias names is read from the store each time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from cd4ml.adapters.bundle_shelf import BundleShelf, Kept
from cd4ml.adapters.event_stream import EventStream
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.registry_events import ModelFeed
from cd4ml.errors import Cd4mlError, IntegrityError, ServiceError, UsageError
from cd4ml.models.follow_status import IDLE_PAUSES, FollowStatus, Held, Timing

__all__ = ["AliasFollower", "split_reference"]

_LOG = logging.getLogger("cd4ml.follow")
_REFUSED = 60
"""At most so many times `poll_seconds` pass until a refused version is tried again."""
_CLOSE_SECONDS = 10.0
T = TypeVar("T")


def split_reference(reference: str) -> tuple[str, str]:
    """Return the model and the alias of NAME@alias; the alias of NAME alone is "latest".

    Raises
    ------
    UsageError
        If it is neither.
    """
    name, separator, alias = reference.partition("@")
    if not name or (separator and not alias) or "/" in reference:
        raise UsageError(
            f"what to follow is NAME@alias, such as sales-forecast@champion; found '{reference}'"
        )
    return name, alias or "latest"


@dataclass(frozen=True)
class _State(Generic[T]):
    """All that a swap changes, so that one assignment is enough."""

    current: Held[T] | None = None
    previous: Held[T] | None = None
    pinned: str = ""


@dataclass
class _Refusal:
    """A version that was refused, and when it is tried again."""

    version: int = 0
    count: int = 0
    again: float = 0.0


@dataclass
class _Look:
    """What the looking thread found; it alone writes."""

    newest: int | None = None
    at: float | None = None
    failures: int = 0
    swaps: int = 0
    refusals: int = 0
    problem: str = ""
    error: Cd4mlError | None = None
    refusal: _Refusal = field(default_factory=_Refusal)


class AliasFollower(Generic[T]):
    """Keeps the newest good version of an alias at hand.

    Parameters
    ----------
    registry : Registry
        Only read.
    reference : str
        NAME@alias; NAME alone is its latest version.
    shelf : BundleShelf
        Where bundles are kept.
    prepare : callable
        Makes a verified folder ready, given what is in use now or None; raises a Cd4mlError to refuse it.
    events_url : str, optional
        Of `cd4ml models events --listen`.
    on_swap, on_problem : callable, optional
        Called in the thread of this follower; what they raise is logged and harms nothing.
    """

    def __init__(
        self,
        registry: Registry,
        reference: str,
        shelf: BundleShelf,
        prepare: Callable[[Path, T | None], T],
        *,
        timing: Timing,
        events_url: str | None = None,
        on_swap: Callable[[Held[T], Held[T] | None], None] | None = None,
        on_problem: Callable[[str], None] | None = None,
    ) -> None:
        self.name, self.alias = split_reference(reference)
        self._registry, self._shelf, self._prepare, self._timing = registry, shelf, prepare, timing
        self._feed = ModelFeed(registry, self.name)
        self._events_url, self._on_swap, self._on_problem = events_url, on_swap, on_problem
        self._state: _State[T] = _State()
        self._look, self._streaming = _Look(), False
        self._unrecorded = self._restored = False
        self._swapping = threading.Lock()
        self._wake, self._closing, self._looked = threading.Event(), threading.Event(), threading.Event()
        self._stream: EventStream | None = None
        self._threads: list[threading.Thread] = []

    @property
    def current(self) -> Held[T]:
        """What is in use.

        Raises
        ------
        UsageError
            If the follower was not started.
        """
        held = self._state.current
        if held is None:
            raise UsageError("a follower has a version once it was started; use it in a 'with' block")
        return held

    @property
    def previous(self) -> Held[T] | None:
        """What was in use before; None when there was nothing."""
        return self._state.previous

    def start(self) -> None:
        """Take what is on disk, look at the store, and go on doing so.

        Raises
        ------
        Cd4mlError
            If nothing verified is on disk and the store gives nothing either.
        """
        self._take_kept()
        targets = [self._watch] + ([self._listen] if self._events_url else [])
        self._threads = [
            threading.Thread(target=target, name=f"cd4ml-follow-{target.__name__}", daemon=True)
            for target in targets
        ]
        for thread in self._threads:
            thread.start()
        self._looked.wait(None if self._state.current is None else self._timing.start_seconds)
        if self._state.current is None:
            error = self._look.error or ServiceError(f"no version of '{self.name}' could be taken")
            self.close()
            raise error

    def close(self) -> None:
        """End the threads; what is in use can be used on."""
        self._closing.set()
        self._wake.set()
        if (stream := self._stream) is not None:
            stream.close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_CLOSE_SECONDS)

    def go_back(self, reason: str) -> Held[T]:
        """Use the previous version, whatever the alias names, until `resume`; also after a restart.

        Raises
        ------
        UsageError
            If there is no previous version, it went back already, or no reason is given.
        """
        if not reason.strip():
            raise UsageError("going back needs a reason; it is kept and shown")
        with self._swapping:
            was, back = self._state.current, self._state.previous
            if self._state.pinned:
                raise UsageError(f"'{self.name}' went back already ({self._state.pinned}); resume first")
            if was is None or back is None:
                raise UsageError(f"'{self.name}' has no previous version here to go back to")
            again = Held(back.version, back.bundle, self._time(), back.loaded)
            self._state = _State(again, was, reason)
            self._record()
        _LOG.warning("%s: back to version %d: %s", self._named, again.version, reason)
        return again

    def resume(self) -> None:
        """Follow the alias again."""
        with self._swapping:
            self._state = _State(self._state.current, self._state.previous)
            self._record()
        self._wake.set()

    def status(self) -> FollowStatus:
        """Return how this follower is; see `FollowStatus`."""
        state, look, current = self._state, self._look, self.current
        return FollowStatus(
            reference=self._named,
            version=current.version,
            bundle=current.bundle,
            since=current.since,
            previous=state.previous.version if state.previous else None,
            newest=look.newest,
            pinned=state.pinned,
            stale_seconds=None if look.at is None else self._timing.monotonic() - look.at,
            stream="connected" if self._streaming else "broken" if self._events_url else "off",
            problem=look.problem,
            swaps=look.swaps,
            refusals=look.refusals,
        )

    def check(self) -> None:
        """Wait for the first look, and raise the error that keeps the alias from being followed, if any."""
        self._looked.wait()
        if self._look.error is not None:
            raise self._look.error

    @property
    def _named(self) -> str:
        return f"{self.name}@{self.alias}"

    def _time(self) -> str:
        return self._timing.clock().isoformat(timespec="seconds")

    def _watch(self) -> None:
        """Look at the store again and again; the only thread that fetches and swaps forward."""
        while not self._closing.is_set():
            self._wake.clear()
            self._check()
            self._looked.set()
            self._wake.wait(self._pause())

    def _pause(self) -> float:
        look = self._look
        if look.failures:
            return self._timing.pause(look.failures)
        if not self._streaming:
            return self._timing.pause()
        idle = IDLE_PAUSES * self._timing.pause()
        waiting = look.refusal.again - self._timing.monotonic() if look.refusal.version else idle
        return max(0.0, min(idle, waiting))

    def _check(self) -> None:
        """Look once; nothing that goes wrong ends the thread."""
        look = self._look
        try:
            self._feed.poll()
            look.newest = self._feed.resolve(self.alias)
            look.at, look.failures = self._timing.monotonic(), 0
        except Exception as error:  # also what nobody thought of: a follower must not stop
            look.failures += 1
            self._report(error, "keeps its version, the registry could not be read")
            return
        try:
            self._follow(look.newest)
        except Exception as error:
            self._refuse(look.newest, error)

    def _follow(self, number: int) -> None:
        look, state = self._look, self._state
        if state.current is not None and (state.pinned or state.current.version == number):
            look.refusal, look.problem, look.error = _Refusal(), "", None
            if self._unrecorded:
                with self._swapping:
                    self._record()
            if not self._restored and state.previous is None:
                self._restored = True
                self._take_previous()
            return
        if look.refusal.version == number and self._timing.monotonic() < look.refusal.again:
            return
        version = self._registry.get(self.name, number)
        before = state.previous
        if before is not None and before.bundle == version.bundle:
            loaded = before.loaded
        else:
            folder = self._shelf.fetch(self._registry, version)
            loaded = self._prepare(folder, state.current.loaded if state.current else None)
        self._swap(Held(number, version.bundle, self._time(), loaded))

    def _swap(self, new: Held[T]) -> None:
        """Put a version in use, unless somebody went back meanwhile."""
        look = self._look
        with self._swapping:
            state = self._state
            if state.pinned:
                return
            old = state.current
            self._state = _State(new, old)
            look.refusal, look.problem, look.error = _Refusal(), "", None
            look.swaps += 1
        self._call(self._on_swap, new, old)
        with self._swapping:
            self._record()

    def _record(self) -> None:
        """Write down what is in use; a full disk must not keep anybody from going back."""
        state = self._state
        used = [held.kept for held in (state.current, state.previous) if held is not None]
        try:
            self._shelf.write(used, state.pinned)
            self._unrecorded = False
        except Cd4mlError as error:
            self._unrecorded = True
            self._report(error, "a restart would not know what is in use now")

    def _refuse(self, number: int, error: Exception) -> None:
        look = self._look
        if isinstance(error, ServiceError):
            look.failures += 1
            self._report(error, f"version {number} could not be fetched")
            return
        count = look.refusal.count + 1 if look.refusal.version == number else 1
        again = self._timing.monotonic() + self._timing.pause(count, _REFUSED)
        look.refusal = _Refusal(number, count, again)
        look.refusals += 1
        self._report(error, f"version {number} was refused")

    def _report(self, error: Exception, what: str) -> None:
        """Note a problem; say it once, and again when it is another one."""
        known = isinstance(error, Cd4mlError)
        line = " ".join(str(error).split()) if known else f"unexpected {type(error).__name__}: {error}"
        problem = f"{self._named}: {what}: {line}"
        new, look = problem != self._look.problem, self._look
        look.problem = problem
        look.error = error if isinstance(error, Cd4mlError) else ServiceError(problem)
        if new:
            _LOG.warning("%s", problem, exc_info=None if known else error)
            self._call(self._on_problem, problem)

    def _call(self, callback: Callable[..., None] | None, *arguments: Any) -> None:
        if callback is not None:
            try:
                callback(*arguments)
            except Exception:
                _LOG.exception("%s: a callback failed", self._named)

    def _take_kept(self) -> None:
        """Use what is on disk, verified again; the first that holds."""
        record = self._shelf.read()
        for kept in record.kept:
            pinned = record.pinned if kept == record.kept[0] else ""
            try:
                loaded = self._prepare(self._verified(kept, fetch=bool(pinned)), None)
            except Exception as error:
                self._report(error, f"version {kept.version} on disk is not used")
                continue
            held = Held(kept.version, kept.bundle, self._time(), loaded)
            self._state = _State(held, None, pinned)
            self._call(self._on_swap, held, None)
            return

    def _verified(self, kept: Kept, fetch: bool) -> Path:
        """Return the folder of a kept bundle; a damaged one that is pinned is fetched anew."""
        try:
            return self._shelf.verified(kept)
        except IntegrityError:
            if not fetch:
                raise
            return self._shelf.fetch(self._registry, self._registry.get(self.name, kept.version))

    def _take_previous(self) -> None:
        """After a restart: have the version before at hand, if it is still on disk."""
        current = self._state.current
        others = [kept for kept in self._shelf.read().kept if current is None or kept != current.kept]
        if not others:
            return
        with suppress(Cd4mlError):
            loaded = self._prepare(self._shelf.verified(others[0]), None)
            with self._swapping:
                state = self._state
                held = Held(others[0].version, others[0].bundle, "", loaded)
                self._state = _State(state.current, held, state.pinned)

    def _listen(self) -> None:
        """Wake the other thread at each event; without a stream it looks by itself."""
        last_id, failures = "", 0
        while not self._closing.is_set():
            try:
                with EventStream(str(self._events_url), last_id) as stream:
                    self._stream, self._streaming, failures = stream, True, 0
                    self._wake.set()  # what happened while nobody listened
                    for event in () if self._closing.is_set() else stream:
                        last_id = event.id
                        self._wake.set()
            except Cd4mlError as error:
                _LOG.info("%s: polls until events come again: %s", self._named, error)
            was, self._stream, self._streaming = self._streaming, None, False
            if was:
                self._wake.set()  # from now on this follower polls
            failures += 1
            self._closing.wait(self._timing.pause(failures))
