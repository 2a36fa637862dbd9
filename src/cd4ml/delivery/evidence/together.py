"""Several sources as one: errors from Prometheus, losses from logs."""

from __future__ import annotations

from collections.abc import Sequence

from cd4ml.delivery.evidence.source import Collected, EvidenceSource
from cd4ml.domain.rollout.state import Rollout
from cd4ml.errors import UsageError
from cd4ml.problem import Rollout as Policy

__all__ = ["Together"]


class Together:
    """All evidence and all holds of several sources; a metric that two of them tell of stands twice.

    Parameters
    ----------
    sources : mapping-like sequence of (name, source)
        The name goes before a hold, so that people know whom to ask.
    """

    def __init__(self, sources: Sequence[tuple[str, EvidenceSource]]) -> None:
        if not sources:
            raise UsageError("expected at least one source of evidence")
        self._sources = tuple(sources)

    def collect(self, rollout: Rollout, policy: Policy, at_seconds: float) -> Collected:
        """Return what all of them know; a step rests on as many requests as its smallest source saw."""
        found = [(name, source.collect(rollout, policy, at_seconds)) for name, source in self._sources]
        return Collected(
            tuple(one for _, collected in found for one in collected.evidence),
            tuple(f"{name}: {hold}" for name, collected in found for hold in collected.holds),
            min(collected.requests for _, collected in found),
            tuple(f"{name}: {doubt}" for name, collected in found for doubt in collected.doubts),
        )
