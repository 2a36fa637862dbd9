"""Simulated traffic of a rollout, and how other tools decide on it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

ALPHA = 0.05


@dataclass(frozen=True)
class Stream:
    """Requests in order: their unit, the canary's weight, the arm, and whether they failed."""

    key: NDArray[np.int64]
    share: NDArray[np.float64]
    arm: NDArray[np.bool_]
    failed: NDArray[np.bool_]

    def only(self, keep) -> "Stream":
        return Stream(self.key[keep], self.share[keep], self.arm[keep], self.failed[keep])

    @property
    def keys(self) -> list[str]:
        return list(map(str, self.key.tolist()))


def independent(rng, n: int, rate: float = 0.01, ratio: float = 1.0, share=0.1) -> Stream:
    """Each request on its own; `share` a weight, or one for each of equal parts of the time."""
    weights = np.repeat(np.atleast_1d(share), -(-n // np.size(share)))[:n].astype(float)
    arm = rng.random(n) < weights
    return Stream(np.arange(n), weights, arm, rng.random(n) < np.where(arm, rate * ratio, rate))


def over_a_day(rng, n: int, ratio: float = 1.0, share=0.1) -> Stream:
    """As `independent`; the rate of failures of both arms swings between 0.2 and 3 %."""
    plain = independent(rng, n, share=share)
    rate = 0.016 + 0.014 * np.sin(np.linspace(0, 12, n))
    return Stream(plain.key, plain.share, plain.arm, rng.random(n) < rate * np.where(plain.arm, ratio, 1))


def sticky(rng, n: int, users: int, ratio: float = 1.0, share=0.1) -> Stream:
    """Few users make most requests, and some fail far more often than others, in whichever arm."""
    weights = np.repeat(np.atleast_1d(share), -(-n // np.size(share)))[:n].astype(float)
    place, often = rng.random(users), rng.gamma(0.5, 1, users)
    prone = np.clip(rng.gamma(0.3, 0.1, users), 0, 1)
    user = rng.choice(users, n, p=often / often.sum())
    arm = place[user] < weights
    failed = rng.random(n) < np.clip(prone[user] * np.where(arm, ratio, 1), 0, 1)
    return Stream(user, weights, arm, failed)


def with_retries(rng, plain: Stream) -> Stream:
    """Each failed request is sent again up to ten times, in the same arm, and fails again."""
    times = np.where(plain.failed, rng.integers(1, 11, len(plain.key)), 1)
    again = np.repeat(np.arange(len(plain.key)), times)
    return plain.only(again)


def threshold_rollback(stream: Stream, looks: int = 20, limit: float = 0.01, fails: int = 5) -> bool:
    """As Flagger: the canary's share of failures since the last look, against a fixed limit."""
    bad = 0
    for part in np.array_split(np.arange(len(stream.key)), looks):
        inside = stream.failed[part][stream.arm[part]]
        bad += len(inside) > 0 and inside.mean() > limit
        if bad >= fails:
            return True
    return False


def peeked_z_rollback(stream: Stream, looks: int = 20) -> bool:
    """A one-sided z-test of two proportions at each look."""
    for end in np.linspace(0, len(stream.key), looks + 1)[1:].astype(int):
        arm, failed = stream.arm[:end], stream.failed[:end]
        a, b = failed[arm], failed[~arm]
        p = failed.mean()
        error = np.sqrt(p * (1 - p) * (1 / max(len(a), 1) + 1 / max(len(b), 1)))
        if error > 0 and (a.mean() - b.mean()) / error > stats.norm.isf(ALPHA):
            return True
    return False


def mann_whitney_rollback(stream: Stream, looks: int = 20) -> bool:
    """As Kayenta: rates of failures of 20 intervals in both arms, one test at the end, at 98 %."""
    rates: list[list[float]] = [[], []]
    for part in np.array_split(np.arange(len(stream.key)), looks):
        for side in (0, 1):
            inside = stream.failed[part][stream.arm[part] == bool(side)]
            rates[side].append(float(inside.mean()) if len(inside) else 0.0)
    return bool(stats.mannwhitneyu(rates[1], rates[0], alternative="greater").pvalue < 0.02)
