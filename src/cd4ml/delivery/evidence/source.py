"""What a source of evidence gives to the controller of a rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cd4ml.domain.rollout.state import Rollout
from cd4ml.domain.sequential.verdict import Evidence
from cd4ml.problem import Rollout as Policy

__all__ = ["Collected", "EvidenceSource"]


@dataclass(frozen=True)
class Collected:
    """The evidence of a rollout's current step.

    Attributes
    ----------
    evidence : tuple of Evidence
        One a metric; none proves nothing.
    holds : tuple of str
        Why nothing may be concluded now: a source is stale, silent or contradicts itself.
    doubts : tuple of str
        Why nothing may be promoted now, though harm may be found, see `judge`.
    requests : int
        That the step's evidence rests on, of both versions together.
    """

    evidence: tuple[Evidence, ...]
    holds: tuple[str, ...] = ()
    requests: int = 0
    doubts: tuple[str, ...] = ()


class EvidenceSource(Protocol):
    """Where evidence comes from."""

    def collect(self, rollout: Rollout, policy: Policy, at_seconds: float) -> Collected:
        """Return what is known of the rollout's current step at a time (since 1970).

        Only what happened since `rollout.converged_at_seconds` belongs to it. What cannot be read is a hold.
        """
        ...
