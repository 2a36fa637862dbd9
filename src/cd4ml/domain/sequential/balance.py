"""Whether both arms tell as much of themselves as they should: without that, no comparison is fair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cd4ml.domain.sequential.rate_ratio import EventShare

__all__ = ["ArmBalance"]

_PRIOR = {0.3: 0.1, 0.5: 0.1, 0.7: 0.15, 0.85: 0.15, 1.15: 0.15, 1.4: 0.15, 2.0: 0.1, 3.0: 0.1}


class ArmBalance:
    """Tests that what is counted is split between canary and stable version as requests are.

    Fed with all observed requests it finds a wrong split (sample ratio mismatch); fed with the requests whose
    answer is missing it finds that one arm loses more of them. Either holds a rollout: what is missing may
    be what would have told.

    References
    ----------
    M. Lindon, A. Malek, Anytime-valid inference for multinomial count data, NeurIPS 2022, arXiv 2011.03567
    (sample ratio mismatch, at all times).
    """

    def __init__(self) -> None:
        self._test = EventShare(1.0, _PRIOR)
        self.count = 0

    @property
    def log_peak(self) -> float:
        """Largest log of the e-process so far."""
        return self._test.mixture.log_peak

    def update(self, in_canary: NDArray[np.bool_], share: NDArray[np.float64]) -> None:
        """Take a block, shape (n,), as `RateRatio.update` does."""
        if len(in_canary):
            self._test.update(in_canary, share)
            self.count += len(in_canary)

    def update_counts(self, in_canary: int, in_stable: int, share: float) -> None:
        """Take an interval, as `RateRatio.update_counts` does."""
        if in_canary + in_stable > 0:
            self._test.update_counts(in_canary, in_stable, share)
            self.count += in_canary + in_stable
