"""Events that are rare in themselves: a rate that is certainly below a limit, whatever a ratio says."""

from __future__ import annotations

from math import log, log1p

import numpy as np
from numpy.typing import NDArray

from cd4ml.domain.sequential.mixture import Mixture
from cd4ml.errors import UsageError

__all__ = ["RareEvents", "either"]

_FRACTIONS = (0.02, 0.1, 0.3, 0.6)
"""Alternatives, as fractions of the limit; a rate of 0 is what matters most."""
_WEIGHTS = (4.0, 2.0, 1.0, 1.0)


class RareEvents:
    """Tests "the rate of events is at least `limit`"; it is rejected when they are certainly rarer.

    A ratio of rates learns from events alone. Two versions that never fail give none, and a comparison would
    go on for ever; but so many answers without a failure are evidence as well. The likelihood ratio of a
    smaller rate is a supermartingale at each rate of `limit` or more, as it is monotone.

    Parameters
    ----------
    limit : float
        A rate between 0 and 1.

    References
    ----------
    A. Wald, Sequential tests of statistical hypotheses, Annals of Mathematical Statistics 16, 1945; mixtures
    as in `Mixture`.
    """

    def __init__(self, limit: float) -> None:
        if not 0 < limit < 1:
            raise UsageError(f"expected a limit between 0 and 1, e.g. 0.01; found {limit}")
        self.limit = float(limit)
        self.mixture = Mixture(_WEIGHTS)
        rates = [limit * fraction for fraction in _FRACTIONS]
        self._event = np.array([log(rate / limit) for rate in rates])
        self._none = np.array([log1p(-rate) - log1p(-limit) for rate in rates])
        self.count = 0
        self.events = 0

    def update(self, happened: NDArray[np.bool_]) -> None:
        """Take a block of requests, shape (n,), in their order: whether the event happened in each."""
        found = np.atleast_1d(np.asarray(happened, dtype=np.bool_))
        self.mixture.update(np.where(found[:, None], self._event, self._none))
        self._counted(len(found), int(found.sum()))

    def update_counts(self, requests: int, events: int) -> None:
        """Take an interval of which only the counts are known, as one observation."""
        if requests:
            self.mixture.update(events * self._event + (requests - events) * self._none)
        self._counted(requests, events)

    def _counted(self, requests: int, events: int) -> None:
        self.count += requests
        self.events += events


def either(first_log_peak: float, second_log_peak: float) -> float:
    """Return the log of what two tests of the same claim say together: each has half of the wealth."""
    return max(first_log_peak, second_log_peak, log(2.0)) - log(2.0)
