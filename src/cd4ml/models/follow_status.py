"""What is told of a follower, and the pauses that it makes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from cd4ml.adapters.bundle_shelf import Kept

__all__ = ["IDLE_PAUSES", "FollowStatus", "Held", "Timing"]

IDLE_PAUSES = 12
"""While events come, and at most when the store does not answer, so many times `poll_seconds` pass."""
_JITTER = 0.2
T = TypeVar("T")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Timing:
    """Pauses and clocks of a follower.

    Attributes
    ----------
    poll_seconds : float
        Between two looks at the store when no events come; each pause is a fifth longer or shorter by chance,
        so that many consumers do not ask at once.
    start_seconds : float
        How long a start waits for the store where a verified bundle is on disk already.
    clock, monotonic, uniform : callable
        The time in UTC, seconds that only grow, and a random number in [0, 1).
    """

    poll_seconds: float = 5.0
    start_seconds: float = 10.0
    clock: Callable[[], datetime] = _now
    monotonic: Callable[[], float] = time.monotonic
    uniform: Callable[[], float] = random.random

    def pause(self, failures: int = 0, most: int = IDLE_PAUSES) -> float:
        """Return the seconds until the next attempt after so many failures in a row."""
        factor = min(2.0**failures, most)
        return self.poll_seconds * factor * (1 - _JITTER + 2 * _JITTER * self.uniform())


@dataclass(frozen=True)
class Held(Generic[T]):
    """A version in use, or used before.

    Attributes
    ----------
    version : int
    bundle : str
        The bundle's id.
    since : str
        When this process began to use it: UTC, ISO 8601; "" when it never did.
    loaded : T
        What it was made into.
    """

    version: int
    bundle: str
    since: str
    loaded: T

    @property
    def kept(self) -> Kept:
        """How it stands on the shelf."""
        return Kept(self.version, self.bundle)


@dataclass(frozen=True)
class FollowStatus:
    """How a follower is.

    Attributes
    ----------
    reference : str
        NAME@alias.
    version, bundle, since : int, str, str
        What is in use, and since when.
    previous : int or None
        The version to go back to.
    newest : int or None
        What the alias named at the last look.
    pinned : str
        Why the alias is not followed; "" while it is.
    stale_seconds : float or None
        Since the store was last looked at; None when it never was.
    stream : str
        "off", "connected" or "broken".
    problem : str
        What is wrong now; "" when nothing is.
    swaps, refusals : int
        How often another version was taken, and how often one was refused.
    """

    reference: str
    version: int
    bundle: str
    since: str
    previous: int | None
    newest: int | None
    pinned: str
    stale_seconds: float | None
    stream: str
    problem: str
    swaps: int
    refusals: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)
