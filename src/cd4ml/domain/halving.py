"""Successive halving: many candidates on few rows, the better ones on more, the best on all.

The budget is counted in rows fitted, not in seconds, so that a search repeats on any machine.

References
----------
.. [1] Jamieson, Talwalkar, 2016, Non-stochastic Best Arm Identification and Hyperparameter Optimization.
.. [2] Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar, 2018, Hyperband, JMLR 18(185).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cd4ml.domain.hashing import uniform_hash
from cd4ml.domain.search_space import sample_space
from cd4ml.errors import BudgetError, UsageError

__all__ = ["Rung", "nested_sample", "sample_space", "schedule", "survivors"]


@dataclass(frozen=True)
class Rung:
    """One round: so many candidates, each fitted on `rows` rows in each of `folds` folds."""

    candidates: int
    rows: int
    folds: int

    @property
    def row_fits(self) -> int:
        """What the round costs."""
        return self.candidates * self.rows * self.folds


def schedule(
    candidates: int, rows: int, folds: int, budget_row_fits: int, eta: int = 3, min_rows: int = 2000
) -> tuple[Rung, ...]:
    """Return the rounds of a search within a budget; the last is on all rows.

    Each round keeps one candidate in `eta` and gives it `eta` times the rows. Of the ways to stay within
    the budget the one with the fewest rounds is taken, since early rounds on few rows are those that err;
    only where no number of rounds will do are candidates left out, the latest first.

    Parameters
    ----------
    candidates, rows, folds : int
        Candidates to try; rows of a full fit; fits per candidate.
    budget_row_fits : int
        The most that candidates x rows x folds may sum to.
    eta : int
        How many times fewer candidates, and more rows, from round to round; 3 after Hyperband.
    min_rows : int
        A fit on fewer rows says nothing (unless there are no more).

    Raises
    ------
    BudgetError
        If the budget does not pay for one candidate on all rows; the message names the smallest that does.
    UsageError
        If a number is too small.
    """
    for name, value, least in (
        ("candidates", candidates, 1),
        ("rows", rows, 1),
        ("folds", folds, 1),
        ("eta", eta, 2),
    ):
        if value < least:
            raise UsageError(f"{name} must be at least {least}; found {value}")
    if budget_row_fits < rows * folds:
        raise BudgetError(
            f"the budget of {budget_row_fits} row fits does not pay for one candidate on {rows} rows in "
            f"{folds} folds; the smallest that does is {rows * folds}"
        )
    for count in range(candidates, 1, -1):
        for rounds in range(1, _most_rounds(count, rows, eta, max(1, min_rows)) + 1):
            rungs = _rungs(count, rows, folds, rounds, eta)
            if sum(rung.row_fits for rung in rungs) <= budget_row_fits:
                return rungs
    return _rungs(1, rows, folds, 1, eta)


def _most_rounds(candidates: int, rows: int, eta: int, min_rows: int) -> int:
    rounds = 1
    while eta**rounds <= candidates and rows // eta**rounds >= min_rows:
        rounds += 1
    return rounds


def _rungs(candidates: int, rows: int, folds: int, rounds: int, eta: int) -> tuple[Rung, ...]:
    return tuple(
        Rung(candidates // eta**done, rows // eta ** (rounds - 1 - done), folds) for done in range(rounds)
    )


def survivors(scores: Sequence[float], keep: int, higher_is_better: bool) -> list[int]:
    """Return the indices of the `keep` best scores, best first; ties go to the earlier, NaN comes last."""
    if keep < 1:
        raise UsageError(f"keep must be at least 1; found {keep}")

    def rank(index: int) -> tuple[bool, float, int]:
        value = float(scores[index])
        if math.isnan(value):
            return (True, 0.0, index)
        return (False, -value if higher_is_better else value, index)

    return sorted(range(len(scores)), key=rank)[:keep]


def nested_sample(total: int, rows: int, seed: int) -> npt.NDArray[np.int64]:
    """Return sorted indices of `rows` of `total` rows, by hash: a smaller sample is within a larger one."""
    if not 0 <= rows <= total:
        raise UsageError(f"rows must be from 0 to {total}; found {rows}")
    order = np.argsort(uniform_hash(np.arange(total), seed), kind="stable")
    return np.sort(order[:rows]).astype(np.int64)
