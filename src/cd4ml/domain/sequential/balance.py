"""Whether both arms tell as much of themselves as they should: without that, no comparison is fair."""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import NDArray

from cd4ml.domain.sequential.rate_ratio import EventShare

__all__ = ["ArmBalance"]

_FEW = {0.3: 0.2, 0.5: 0.2, 0.7: 0.3, 0.85: 0.3}
_MANY = {1.15: 0.3, 1.4: 0.3, 2.0: 0.2, 3.0: 0.2}
_TWO_SIDES = log(2.0)
"""Each side is tested with half of the error."""


class ArmBalance:
    """Tests that what is counted is split between canary and stable version as requests are.

    Fed with all observed requests it finds a wrong split (sample ratio mismatch); fed with the requests whose
    answer is missing it finds that one arm loses more of them. No promotion may follow then: what is missing
    may be what would have told. Which arm it is matters for harm: events that the canary does not tell of
    make it look better, so that harm which is proven all the same is proven; events that the stable version
    does not tell of prove nothing.

    References
    ----------
    M. Lindon, A. Malek, Anytime-valid inference for multinomial count data, NeurIPS 2022, arXiv 2011.03567
    (sample ratio mismatch, at all times).
    """

    def __init__(self) -> None:
        self._few, self._many = EventShare(1.0, _FEW), EventShare(1.0, _MANY)
        self.count = 0

    @property
    def few_log_peak(self) -> float:
        """Largest log of an e-process against "the canary has its share": it has less of what is counted."""
        return self._few.mixture.log_peak - _TWO_SIDES

    @property
    def many_log_peak(self) -> float:
        """The same: it has more."""
        return self._many.mixture.log_peak - _TWO_SIDES

    @property
    def log_peak(self) -> float:
        """The same: it has less or more."""
        return max(self.few_log_peak, self.many_log_peak)

    def update(self, in_canary: NDArray[np.bool_], share: NDArray[np.float64]) -> None:
        """Take a block, shape (n,), as `RateRatio.update` does."""
        if len(in_canary):
            self._few.update(in_canary, share)
            self._many.update(in_canary, share)
            self.count += len(in_canary)

    def update_counts(self, in_canary: int, in_stable: int, share: float) -> None:
        """Take an interval, as `RateRatio.update_counts` does."""
        if in_canary + in_stable > 0:
            self._few.update_counts(in_canary, in_stable, share)
            self._many.update_counts(in_canary, in_stable, share)
            self.count += in_canary + in_stable
