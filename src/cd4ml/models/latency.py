"""How long does a single prediction take?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cd4ml.errors import DataError
from cd4ml.models.runtime import Bundle

__all__ = ["Latency", "measure_latency"]


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one row's prediction: checks, features and model."""

    p50_ms: float
    p99_ms: float
    calls: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def measure_latency(
    bundle: Bundle,
    rows: Sequence[Mapping[str, Any]],
    *,
    calls: int = 300,
    warm_up: int = 30,
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """Predict one row at a time, over and over.

    Parameters
    ----------
    rows : sequence of mappings
        As a caller sends them; taken in turn.
    clock : callable
        Seconds that only grow.

    Raises
    ------
    DataError
        If there are no rows.
    """
    if not rows:
        raise DataError("latency needs at least one row; found none")
    taken_ms = np.empty(calls)
    for call in range(-warm_up, calls):
        started = clock()
        bundle.predict_rows([rows[call % len(rows)]])
        if call >= 0:
            taken_ms[call] = (clock() - started) * 1000
    return Latency(float(np.quantile(taken_ms, 0.5)), float(np.quantile(taken_ms, 0.99)), calls)
