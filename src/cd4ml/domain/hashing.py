"""A hash of integers that is the same on every machine and in every run."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["uniform_hash"]


def uniform_hash(codes: npt.ArrayLike, seed: int) -> npt.NDArray[np.float64]:
    """Return a number in [0, 1) for each integer code, as if drawn at random.

    A code keeps its number whatever other codes there are. References: SplitMix64, Steele, Lea, Flood, 2014,
    Fast Splittable Pseudorandom Number Generators.
    """
    golden = np.uint64(0x9E3779B97F4A7C15)
    start = _mix(np.array([seed & (2**64 - 1)], dtype=np.uint64) + golden)
    mixed = _mix(np.asarray(codes).astype(np.int64).view(np.uint64) * golden + start)
    return np.asarray((mixed >> np.uint64(11)).astype(np.float64) / 2.0**53)


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
