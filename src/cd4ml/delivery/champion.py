"""The registry's champion follows a rollout: the version that answers the callers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.registry import Registry
from cd4ml.delivery.wanted import wanted_champion
from cd4ml.domain.rollout.state import Rollout

__all__ = ["CHAMPION", "Champion", "RegistryChampion"]

CHAMPION = "champion"


class Champion(Protocol):
    """Who is told which version serves."""

    def follow(self, rollout: Rollout, fence: int) -> str:
        """Make the version that the rollout's phase wants the champion; doing so twice is doing so once.

        Returns
        -------
        str
            Why it was left alone: somebody made a third version the champion. "" when it is as it shall be.

        Raises
        ------
        ConflictError
            If somebody with a higher fence follows the rollouts of this service, or moved it meanwhile.
        ServiceError
            If the registry cannot be reached.
        """
        ...


class RegistryChampion:
    """The alias `champion` of the registry, moved by compare-and-swap and told in the audit log.

    Parameters
    ----------
    audit : AuditLog, optional
        Told before each move.
    """

    def __init__(
        self, registry: Registry, audit: AuditLog | None = None, alias: str = CHAMPION, by: str = "controller"
    ) -> None:
        self._registry, self._audit, self._alias, self._by = registry, audit, alias, by

    def follow(self, rollout: Rollout, fence: int) -> str:
        """Move the alias to the version that the rollout wants; see `Champion`.

        The fence is noted also where nothing moves, so that a controller which was replaced while it was
        about to move the alias cannot do it any more.
        """
        stable, candidate = _number(rollout.stable.version), _number(rollout.candidate.version)
        if not rollout.model or candidate is None:
            return ""  # a folder's bundle has no number: nobody asks the registry for it
        wanted = _number(wanted_champion(rollout).version)
        now = self._registry.aliases(rollout.model).get(self._alias)
        if now not in (None, stable, candidate):
            return (
                f"somebody made version {now} the {self._alias} of '{rollout.model}', which is neither what"
                " serves nor what is rolled out; move it back, or abort this rollout"
            )
        if wanted is None:
            return ""
        if now != wanted and self._audit is not None:
            facts = {"alias": self._alias, "from": now, "to": wanted, "reason": _reason(rollout)}
            self._audit.append("alias", rollout.model, facts, datetime.now(UTC), self._by)
        self._registry.set_alias(
            rollout.model,
            self._alias,
            wanted,
            now,
            reason=_reason(rollout),
            by=self._by,
            fence=(rollout.service, fence),
        )
        return ""


def _reason(rollout: Rollout) -> str:
    return f"rollout {rollout.id} of '{rollout.service}'"


def _number(version: str) -> int | None:
    return int(version) if version.isdecimal() else None
