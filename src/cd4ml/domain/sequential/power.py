"""How many requests a rollout needs before it can decide."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, isinf, log, log1p, sqrt

from scipy.stats import norm

from cd4ml.domain.sequential.mixture import log_threshold
from cd4ml.domain.sequential.rate_ratio import canary_share_of_events
from cd4ml.errors import UsageError

__all__ = ["Needed", "pairs_for_loss", "requests_for_rare", "requests_for_rates"]

_MIXTURE_COST = log(2.0)
"""What a mixture pays for not knowing the alternative: its nearest part holds about half of the prior."""


@dataclass(frozen=True)
class Needed:
    """Observations that find what there is, with the asked probability.

    Attributes
    ----------
    harm : float
        To roll back what is worse by the margin; inf for never.
    safe : float
        To promote what is as good as the stable version; inf for never.
    """

    harm: float
    safe: float

    def seconds(self, per_second: float) -> Needed:
        """Return how long that takes at a traffic of `per_second` observations; 0 is for ever."""
        if per_second <= 0:
            return Needed(inf, inf)
        return Needed(self.harm / per_second, self.safe / per_second)


def requests_for_rates(
    rate: float, margin: float, share: float, alpha: float = 0.05, power: float = 0.8
) -> Needed:
    """Return the requests, of both arms together, that `RateRatio` needs.

    Parameters
    ----------
    rate : float
        Share of the stable version's requests that are events (errors), from 0 to 1; with 0 there is nothing
        to compare.
    margin : float
        Ratio of rates above 1.
    share : float
        Weight of the canary, from 0 to 1; at 0 and 1 nothing is learnt.
    power : float
        Probability of finding it within that many, between 0 and 1.

    Notes
    -----
    The log of a likelihood ratio after m events is about normal with mean m KL and variance m V; the first
    passage is at least as early as this, so that the number is on the safe side.
    """
    if not margin > 1 or not 0 <= rate <= 1 or not 0 <= share <= 1:
        raise UsageError(
            f"expected a margin above 1, and rate and share from 0 to 1; found {margin}, {rate} and {share}"
        )
    if rate == 0 or share in (0, 1):
        return Needed(inf, inf)
    same = float(canary_share_of_events(share, 1.0))
    worse = float(canary_share_of_events(share, margin))
    worse_rate = rate * (share * margin + 1 - share)
    harm = _events(worse, same, alpha, power) / worse_rate
    safe = _events(same, worse, alpha, power) / rate
    return Needed(float(ceil(harm)), float(ceil(safe)))


def requests_for_rare(rate: float, limit: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return the candidate's own requests after which `RareEvents` knows the rate to be below a limit.

    inf where it is not below. The alternatives are those nearest to what `RareEvents` mixes.
    """
    if not 0 < limit < 1 or not 0 <= rate <= 1:
        raise UsageError(f"expected a limit between 0 and 1 and a rate from 0 to 1; found {limit} and {rate}")
    found = inf
    for fraction in (0.02, 0.1, 0.3, 0.6):
        event, none = log(fraction), log1p(-fraction * limit) - log1p(-limit)
        growth = rate * event + (1 - rate) * none
        spread = sqrt(rate * (1 - rate)) * abs(event - none)
        found = min(found, _passage(growth, spread, alpha, power))
    return found if isinf(found) else float(ceil(found))


def _events(true: float, tested: float, alpha: float, power: float) -> float:
    """Return how many coin flips of probability `true` reject `tested`."""
    up, down = log(true / tested), log((1 - true) / (1 - tested))
    growth = true * up + (1 - true) * down
    spread = sqrt(true * (1 - true)) * abs(up - down)
    return _passage(growth, spread, alpha, power)


def _passage(growth: float, spread: float, alpha: float, power: float) -> float:
    """Return the n at which a walk of this drift has passed log(1/alpha) with probability `power`."""
    if growth <= 0:
        return inf
    goal = log_threshold(alpha) + _MIXTURE_COST
    z = float(norm.ppf(power)) * spread
    root = (z + sqrt(z * z + 4 * growth * goal)) / (2 * growth)
    return root * root


def pairs_for_loss(
    loss: float, deviation: float, margin: float, alpha: float = 0.05, power: float = 0.8
) -> Needed:
    """Return the labelled pairs that `PairedLoss` needs.

    Parameters
    ----------
    loss : float
        Mean loss of the stable version, above 0.
    deviation : float
        Standard deviation of the difference of losses of one request, in the same unit; 0 where the two
        models never differ.
    margin : float
        Share of the loss from which on the shadow is worse, above 0.

    Notes
    -----
    A bet that is right for the effect grows by half of its squared size a pair (mean over deviation).
    """
    if not loss > 0 or not margin > 0 or deviation < 0 or isinf(deviation):
        raise UsageError(
            "expected a loss and a margin above 0 and a finite deviation; found"
            f" {loss}, {margin} and {deviation}"
        )
    if deviation == 0:
        return Needed(1.0, 1.0)
    effect = margin * loss / deviation
    pairs = float(ceil(_passage(effect**2 / 2, effect, alpha, power)))
    return Needed(pairs, pairs)
