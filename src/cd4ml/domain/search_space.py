"""Candidates drawn from a space of parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cd4ml.errors import UsageError, nearest

__all__ = ["default_candidate", "sample_space"]

Axis = Sequence[Any] | Mapping[str, Any]

RANGE_KEYS = ("default", "high", "low", "scale", "type")
MOST_LISTED = 100_000  # a space of lists up to this size is drawn without replacement
DRAWS_PER_CANDIDATE = 100


def sample_space(space: Mapping[str, Axis], count: int, seed: int) -> list[dict[str, Any]]:
    """Return up to `count` distinct candidates, the default first.

    Parameters
    ----------
    space : mapping
        For each parameter a list of values, the first being its default; or a range {low, high, scale:
        linear | log, type: int | float, default}, both ends included, whose default is its middle (on its
        scale) unless given.
    count : int
        How many; fewer come back when the space has no more.
    seed : int
        Equal seeds give equal candidates, whatever the order of the parameters.

    Raises
    ------
    UsageError
        If an entry is neither, or a range is empty; the message names the parameter.
    """
    if count < 1:
        raise UsageError(f"count must be at least 1; found {count}")
    names = sorted(space)
    axes = {name: _axis(name, space[name]) for name in names}
    default = default_candidate(space)
    found = {_key(default): default}
    rng = np.random.Generator(np.random.PCG64(seed))
    listed = [axis for axis in axes.values() if isinstance(axis, list)]
    size = math.prod(len(axis) for axis in listed)
    if len(listed) == len(axes) and size <= MOST_LISTED:
        cells: Any = rng.permutation(size)
    else:
        cells = range(DRAWS_PER_CANDIDATE * count)
    for cell in cells:
        if len(found) >= count:
            break
        drawn = (
            _unravel(axes, int(cell))
            if len(listed) == len(axes) and size <= MOST_LISTED
            else _draw(axes, rng)
        )
        found.setdefault(_key(drawn), drawn)
    return [{name: candidate[name] for name in space} for candidate in found.values()]


def default_candidate(space: Mapping[str, Axis]) -> dict[str, Any]:
    """Return the default of every parameter."""
    return {name: _default(name, entry) for name, entry in space.items()}


def _default(name: str, entry: Axis) -> Any:
    axis = _axis(name, entry)
    if isinstance(axis, list):
        return axis[0]
    if "default" in axis:
        return axis["default"]
    return _place(axis, 0.5)


def _axis(name: str, entry: Axis) -> list[Any] | Mapping[str, Any]:
    """Return the values of a list, or the checked range."""
    if isinstance(entry, Mapping):
        return _range(name, entry)
    if isinstance(entry, str) or not isinstance(entry, Sequence) or not entry:
        raise UsageError(
            f"search space '{name}' must be a list of values or a range with low and high; found {entry!r}"
        )
    return list(entry)


def _range(name: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in entry:
        if key not in RANGE_KEYS:
            raise UsageError(
                f"search space '{name}' has an unknown key '{key}'{nearest(str(key), RANGE_KEYS)}"
            )
    scale, kind = entry.get("scale", "linear"), entry.get("type", "float")
    if scale not in ("linear", "log") or kind not in ("int", "float"):
        raise UsageError(
            f"search space '{name}' needs scale linear or log and type int or float; found {scale}, {kind}"
        )
    low, high = entry.get("low"), entry.get("high")
    numbers = all(isinstance(x, int | float) and math.isfinite(x) for x in (low, high))
    if not numbers or low > high or (scale == "log" and low <= 0):  # type: ignore[operator]
        above = " and low above 0" if scale == "log" else ""
        raise UsageError(f"search space '{name}' needs low <= high{above}; found {low} and {high}")
    return {**entry, "scale": scale, "type": kind}


def _place(axis: Mapping[str, Any], share: float) -> int | float:
    """Return the value at a share in [0, 1] of the way from low to high on its scale."""
    low, high = float(axis["low"]), float(axis["high"])
    if (
        axis["type"] == "int"
    ):  # each integer owns the unit round it, so that the ends are as likely as the rest
        low, high = low - 0.5, high + 0.5
    if axis["scale"] == "log":
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        value = low + share * (high - low)
    value = min(max(value, axis["low"]), axis["high"])
    return round(value) if axis["type"] == "int" else float(value)


def _draw(axes: Mapping[str, list[Any] | Mapping[str, Any]], rng: np.random.Generator) -> dict[str, Any]:
    return {
        name: axis[int(rng.integers(len(axis)))]
        if isinstance(axis, list)
        else _place(axis, float(rng.random()))
        for name, axis in axes.items()
    }


def _unravel(axes: Mapping[str, list[Any] | Mapping[str, Any]], cell: int) -> dict[str, Any]:
    """Return the candidate of a cell of the grid, counted in mixed radix."""
    candidate: dict[str, Any] = {}
    for name, axis in axes.items():
        cell, place = divmod(cell, len(axis))
        candidate[name] = list(axis)[place]
    return candidate


def _key(candidate: Mapping[str, Any]) -> str:
    return repr(sorted(candidate.items()))
