"""How many times as often events happen in the canary as in the stable version, watched event by event."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cd4ml.domain.sequential.mixture import Mixture, normalised
from cd4ml.errors import UsageError

__all__ = ["EventShare", "RateRatio", "canary_share_of_events"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_HARM = {1.25: 0.10, 1.5: 0.30, 2.0: 0.35, 3.0: 0.15, 5.0: 0.10}
"""Prior over ratios that harm. A doubling is what a canary is for; less harm needs more requests anyway."""
_SAFE = {0.5: 0.10, 0.75: 0.20, 1.0: 0.60}
"""Prior over ratios that are safe: most canaries are as good as what they replace."""
_NEAR_MARGIN = 0.10
_GRID = np.concatenate([np.geomspace(1 / 32, 1, 61), np.geomspace(1, 32, 61)[1:]])


def canary_share_of_events(share: FloatArray | float, ratio: FloatArray | float) -> FloatArray:
    """Return the probability that an event comes from the canary.

    Parameters
    ----------
    share : array
        Probability that a request goes to the canary, from 0 to 1.
    ratio : array
        Its rate of events divided by that of the stable version.
    """
    inside = np.asarray(share, dtype=np.float64)
    favour = inside * ratio
    result: FloatArray = favour / (favour + 1 - inside)
    return result


def _log_likelihood(in_canary: BoolArray, share: FloatArray, ratios: FloatArray) -> FloatArray:
    """Return the log-probability of each event's arm under each ratio, shape (n, k).

    With a share of 0 or 1 there is nothing to learn: all ratios have the same.
    """
    inside = np.clip(share, 1e-12, 1 - 1e-12)[:, None]
    q = canary_share_of_events(inside, ratios[None, :])
    found: FloatArray = np.where(in_canary[:, None], np.log(q), np.log1p(-q))
    found[(share <= 0) | (share >= 1)] = 0.0
    return found


def _of_counts(in_canary: int, in_stable: int, share: float, ratios: FloatArray) -> FloatArray:
    """Return the log-probability of all events of an interval together under each ratio, shape (k,)."""
    arms = _log_likelihood(np.array([True, False]), np.full(2, share), ratios)
    found: FloatArray = in_canary * arms[0] + in_stable * arms[1]
    return found


class EventShare:
    """Tests one ratio of rates against a mixture of others.

    Only events are looked at. If a request goes to the canary with probability w whatever it is, and events
    are theta times as frequent there, then an event is one of the canary's with probability
    w theta / (w theta + 1 - w), at any rate of events and however that rate moves over the day. Likelihood
    ratios of this coin are martingales, and so is their mixture. Weights may change at any time: each event
    is judged by the w that held for it. With all alternatives on one side the test holds for the whole
    half-line on the other, as likelihood ratios are monotone in the coin's probability.

    Parameters
    ----------
    null : float
        The ratio that is tested, above 0.
    prior : mapping
        Other ratios and what is put on them.

    References
    ----------
    M. Lindon, A. Malek, Anytime-valid inference for multinomial count data, NeurIPS 2022, arXiv 2011.03567.
    H. Robbins, Statistical methods related to the law of the iterated logarithm, 1970 (mixtures).
    """

    def __init__(self, null: float, prior: Mapping[float, float]) -> None:
        self._ratios = np.array([*prior, null])
        self.mixture = Mixture(list(prior.values()))

    def update(self, in_canary: BoolArray, share: FloatArray) -> None:
        """Take a block of events in the order of their time; both arrays have shape (n,)."""
        found = _log_likelihood(in_canary, share, self._ratios)
        self.mixture.update(found[:, :-1] - found[:, -1:])

    def update_counts(self, in_canary: int, in_stable: int, share: float) -> None:
        """Take the events of an interval, whose order is unknown, as one observation: the same end of it."""
        found = _of_counts(in_canary, in_stable, share, self._ratios)
        self.mixture.update(found[:-1] - found[-1])


class RateRatio:
    """Compares rates of events (errors, slow answers, lost sales) between canary and stable version.

    Two one-sided questions: `harm` tests a ratio of at most 1, `safe` one of at least `margin`.

    Parameters
    ----------
    margin : float
        A ratio above 1 from which on the canary counts as worse.

    References
    ----------
    As `EventShare`; the interval inverts the same tests.
    """

    def __init__(self, margin: float) -> None:
        if not margin > 1:
            raise UsageError(
                f"expected a margin above 1, e.g. 1.5 for half as many events again; found {margin}"
            )
        self.margin = float(margin)
        safe = {ratio: share for ratio, share in _SAFE.items() if ratio < margin}
        self._harm = EventShare(1.0, _HARM)
        self._safe = EventShare(self.margin, {**safe, self.margin**0.25: _NEAR_MARGIN})
        self._log_prior = np.log(normalised([1.0] * len(_GRID)))
        self._log_likelihood: FloatArray = np.zeros(len(_GRID))
        self.events = 0
        self.events_in_canary = 0

    @property
    def harm(self) -> Mixture:
        """The e-process against "no more events than before"."""
        return self._harm.mixture

    @property
    def safe(self) -> Mixture:
        """The e-process against "at least `margin` times as many events"."""
        return self._safe.mixture

    def update(self, in_canary: BoolArray, share: FloatArray | float) -> None:
        """Take a block of events in the order of their time.

        Parameters
        ----------
        in_canary : bool array of shape (n,)
            Whether each event happened in the canary.
        share : float array of shape (n,)
            The probability with which the request that the event belongs to was in the canary; of sticky
            units see `units.FirstEvents`.
        """
        arm = np.atleast_1d(np.asarray(in_canary, dtype=np.bool_))
        if not len(arm):
            return
        shares = np.broadcast_to(np.asarray(share, dtype=np.float64), arm.shape)
        self._harm.update(arm, shares)
        self._safe.update(arm, shares)
        steps = _log_likelihood(arm, shares, _GRID)
        self._log_likelihood = np.cumsum(np.vstack([self._log_likelihood, steps]), axis=0)[-1]
        self.events += len(arm)
        self.events_in_canary += int(arm.sum())

    def update_counts(self, in_canary: int, in_stable: int, share: float) -> None:
        """Take the events of an interval of which only the counts are known.

        Their order within it is not used: the tests are looked at when it ends, and nowhere in between.
        """
        if in_canary + in_stable <= 0:
            return
        self._harm.update_counts(in_canary, in_stable, share)
        self._safe.update_counts(in_canary, in_stable, share)
        self._log_likelihood = self._log_likelihood + _of_counts(in_canary, in_stable, share, _GRID)
        self.events += in_canary + in_stable
        self.events_in_canary += in_canary

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return a confidence sequence of the ratio as it stands now: (low, high), each from 1/32 to 32.

        At level 1 - alpha it contains the ratio at all times at once. Before the first event it is the whole
        range.
        """
        mixed = np.logaddexp.reduce(self._log_likelihood + self._log_prior)
        inside = _GRID[mixed - self._log_likelihood < -np.log(alpha)]
        return float(inside[0]), float(inside[-1])

    @property
    def estimate(self) -> float:
        """The most likely ratio on a grid from 1/32 to 32; 1 before the first event."""
        return float(_GRID[int(self._log_likelihood.argmax())]) if self.events else 1.0
