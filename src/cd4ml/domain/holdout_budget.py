"""How often the same holdout may decide before its answers are worth less than they seem.

Whoever looks at a holdout's scores and then changes the model fits the holdout a little. After k looks of b
bits each, the model in hand is one of at most 2^(k b) that could have come out, so that with probability
1 - beta no mean of a loss in [0, 1] over n independent rows is further from the truth than

    sqrt((k b ln 2 + ln(2 / beta)) / (2 n)).

Blum and Hardt's attack reaches the order of sqrt(k / n), so there is no better bound for scores that are
shown in full. A budget is the number of looks at which the bound reaches what can be borne.

References
----------
.. [1] Dwork, Feldman, Hardt, Pitassi, Reingold, Roth, 2015, Generalization in Adaptive Data Analysis and
   Holdout Reuse, NIPS (description length).
.. [2] Blum, Hardt, 2015, The Ladder: A Reliable Leaderboard for Machine Learning Competitions, ICML.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cd4ml.domain.gates import Gate
from cd4ml.errors import DataError, UsageError
from cd4ml.problem import HoldoutBudget

__all__ = [
    "BITS_PER_LOOK",
    "Budget",
    "HoldoutUse",
    "budget_of",
    "ledger_gate",
    "looks_within",
    "worst_case_bias",
]

BITS_PER_LOOK = 6.0
"""What a look tells: one of three decisions (1.6 bits) and the metric to a part in twenty (4.3 bits)."""
MISS_PROBABILITY = 0.05
WARN_BIAS = 0.05
MAX_BIAS = 0.10
LEAST_WARN_LOOKS = 20
LEAST_MAX_LOOKS = 50
"""Where few rows are independent the bound says nothing; there the gates' wide intervals protect."""


@dataclass(frozen=True)
class Budget:
    """Looks after which the verdict warns, and after which it refuses."""

    warn_looks: int
    max_looks: int


@dataclass(frozen=True)
class HoldoutUse:
    """A holdout and how often it was looked at.

    Attributes
    ----------
    holdout : str
        Its id.
    size : int
        Independent units: its clusters.
    own : int
        Models that were scored on these very rows.
    inherited : float
        Models that were scored on other holdouts, each counted by the fraction of this one's rows that the
        other one had too.
    """

    holdout: str
    size: int
    own: int
    inherited: float
    budget: Budget

    @property
    def looks(self) -> float:
        """All looks."""
        return self.own + self.inherited

    def to_dict(self) -> dict[str, Any]:
        """Return the use as JSON values."""
        return {
            **asdict(self),
            "looks": self.looks,
            "worst_case_bias": worst_case_bias(self.looks, self.size),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> HoldoutUse:
        """Return what `to_dict` wrote; DataError when it is something else."""
        try:
            budget = Budget(**value["budget"])
            numbers = int(value["size"]), int(value["own"]), float(value["inherited"])
            return cls(str(value["holdout"]), *numbers, budget)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"this says nothing of a holdout ({error!r}); run the step before again"
            ) from error


def worst_case_bias(looks: float, size: int) -> float:
    """Return how far a mean of losses in [0, 1] over `size` units may be off after `looks`; at most 1."""
    if looks < 0 or size < 1:
        raise UsageError(f"expected looks of at least 0 and a size of at least 1; got {looks} and {size}")
    bits = looks * BITS_PER_LOOK * math.log(2) + math.log(2 / MISS_PROBABILITY)
    return min(1.0, math.sqrt(bits / (2 * size)))


def looks_within(bias: float, size: int) -> int:
    """Return after how many looks `worst_case_bias` still is at most `bias`; 0 when it never is."""
    if not 0 < bias < 1 or size < 1:
        raise UsageError(f"expected a bias in (0, 1) and a size of at least 1; got {bias} and {size}")
    bits = 2 * size * bias**2 - math.log(2 / MISS_PROBABILITY)
    return max(0, math.floor(bits / (BITS_PER_LOOK * math.log(2))))


def budget_of(policy: HoldoutBudget, size: int) -> Budget:
    """Return the looks that the problem allows, or those that the size bears."""
    largest = policy.max_looks or max(LEAST_MAX_LOOKS, looks_within(MAX_BIAS, size), policy.warn_looks or 0)
    warn = policy.warn_looks or max(LEAST_WARN_LOOKS, looks_within(WARN_BIAS, size))
    return Budget(min(warn, largest), largest)


def ledger_gate(use: HoldoutUse) -> Gate:
    """Ask whether the holdout may still decide: more looks than `warn_looks` warn, than `max_looks` fail.

    `use` has the look that is being judged among its own.
    """
    budget, bias = use.budget, worst_case_bias(use.looks, use.size)
    inherited = f" ({use.inherited:.3g} of them at rows that it shares with others)" if use.inherited else ""
    shown = (
        f"the holdout {use.holdout[:12]} was looked at {use.looks:.4g} times{inherited}; from"
        f" {budget.warn_looks} it warns, {budget.max_looks} are allowed; chasing its scores could have gained"
        f" up to {bias:.2g} on a scale of 0 to 1"
    )
    measured, limit = use.looks, float(budget.max_looks)
    if use.looks > budget.max_looks:
        advice = "bring rows that no model was scored on, then `cd4ml data holdout refresh`"
        return Gate("holdout_budget", "fail", measured, limit, None, f"{shown}: {advice}.", "data")
    if use.looks > budget.warn_looks:
        reason = f"{shown}: bring new rows soon."
        return Gate("holdout_budget", "warn", measured, limit, None, reason, "data")
    return Gate("holdout_budget", "pass", measured, limit, None, f"{shown}.", "data")
