"""Evidence on the local plane: the gateway's log, the servers' events, and outcomes."""

from __future__ import annotations

from pathlib import Path

from cd4ml.adapters.envoy import Admin
from cd4ml.adapters.envoy.gateway_config import LISTENER
from cd4ml.delivery.evidence.losses import Quality
from cd4ml.delivery.evidence.source import Collected
from cd4ml.delivery.evidence.step import Logs, Step
from cd4ml.delivery.local.state import PlaneState
from cd4ml.domain.rollout.state import FINAL, Phase, Rollout
from cd4ml.errors import Cd4mlError, ServiceError
from cd4ml.problem import Rollout as Policy

__all__ = ["LocalEvidence", "outcomes_folder"]

_COUNTER = f"http.{LISTENER}.downstream_rq_completed"


def outcomes_folder(root: Path, service: str) -> Path:
    """Return where the outcomes of a service are, in the folder of a plane."""
    return root / "outcomes" / service


class LocalEvidence:
    """Evidence of rollouts on a local plane.

    What is known of a step lives in memory and is read anew from the logs by another process: the same
    logs give the same evidence.

    Parameters
    ----------
    root : Path
        The folder of the plane.
    quality : Quality
        How predictions are compared with outcomes; see `losses.quality_of`.
    """

    def __init__(self, root: Path, quality: Quality | None = None) -> None:
        self._state, self._quality = PlaneState(root), quality or Quality()
        self._steps: dict[str, tuple[tuple[str, Phase, int, float], Step]] = {}

    def collect(self, rollout: Rollout, policy: Policy, at_seconds: float) -> Collected:
        """Return what is known of the rollout's current step; see `EvidenceSource`."""
        if not rollout.converged_at_seconds or rollout.phase in {Phase.VERIFY, *FINAL}:
            self._steps.pop(rollout.service, None)
            return Collected(())
        try:
            found = self._step(rollout, policy).look(at_seconds, self._counted())
        except (OSError, Cd4mlError) as error:
            # A half-read step is no basis: it is read from the beginning the next time.
            self._steps.pop(rollout.service, None)
            return Collected((), (f"the logs cannot be read: {error}",))
        return found

    def _step(self, rollout: Rollout, policy: Policy) -> Step:
        key = (rollout.id, rollout.phase, rollout.step, rollout.converged_at_seconds)
        known = self._steps.get(rollout.service)
        if known is not None and known[0] == key:
            return known[1]
        step = Step(self._logs(rollout.service), rollout, policy, self._quality)
        self._steps[rollout.service] = (key, step)
        return step

    def _logs(self, service: str) -> Logs:
        state = self._state
        return Logs(
            access=state.logs / "access.jsonl",
            events=state.events(service, "stable").parent,
            servers=state.logs,
            outcomes=outcomes_folder(state.root, service),
        )

    def _counted(self) -> int | None:
        """Return how many requests the gateway says that it answered, or None."""
        try:
            record = self._state.record()
            if record is None or not record.admin or not record.alive:
                return None
            address = record.admin.removeprefix("http://")
            return int(Admin(address).counters(rf"^{_COUNTER}$".replace(".", r"\."))[_COUNTER])
        except (ServiceError, KeyError, ValueError, TypeError):
            return None
