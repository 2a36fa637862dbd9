"""The ledger of holdouts: which models were scored on which rows, by whom, and what was decided.

A look is a line of the audit log, so that none can be taken back; beside the log only the description of each
holdout is kept, `holdouts/<id>.json`, written once.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.storage import Storage
from cd4ml.adapters.storage.documents import encode, read_documents
from cd4ml.domain.row_sketch import RowSketch, shared_fraction
from cd4ml.errors import ConflictError, IntegrityError, NotFoundError

__all__ = ["HOLDOUT_LOOK", "VERDICT", "Holdout", "Ledger", "Look"]

HOLDOUT_LOOK = "holdout_look"
HOLDOUT_REFRESH = "holdout_refresh"
VERDICT = "verdict"
_PREFIX = "holdouts/"
_LOOK_FACTS = ("model", "problem", "snapshot", "git_commit", "warn_looks", "max_looks")


@dataclass(frozen=True)
class Holdout:
    """The description of a holdout; see `cd4ml.tables.holdout.HoldoutRows`.

    Attributes
    ----------
    opened : str
        When it was first heard of: UTC, ISO 8601.
    problem : str
        For which problem.
    """

    id: str
    problem: str
    rows: int
    size: int
    first: str
    last: str
    columns: tuple[str, ...]
    sketch: RowSketch
    opened: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the description as JSON values."""
        names = ("id", "problem", "rows", "size", "first", "last", "opened")
        hashes = [f"{value:016x}" for value in self.sketch.smallest.tolist()]
        kept = {"rows": self.sketch.rows, "smallest": hashes}
        return {
            **{name: getattr(self, name) for name in names},
            "columns": list(self.columns),
            "sketch": kept,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Holdout:
        """Return what `to_dict` wrote; IntegrityError when it is something else."""
        try:
            hashes = np.array([int(text, 16) for text in value["sketch"]["smallest"]], dtype=np.uint64)
            kept = RowSketch(int(value["sketch"]["rows"]), hashes)
            return cls(**{**value, "columns": tuple(value["columns"]), "sketch": kept})
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"'{_PREFIX}{value.get('id', '?')}.json' is no holdout ({error!r}); remove it, the next run"
                " writes it again"
            ) from error


@dataclass(frozen=True)
class Look:
    """One model that was scored on a holdout.

    Attributes
    ----------
    model : str
        SHA-256 of what was scored: looking at the same model again tells nothing new.
    at, by : str
        When and who.
    problem, snapshot, git_commit : str
        What made the model.
    warn_looks, max_looks : int
        The budget that held then.
    decision, bundle : str
        What was decided since and on which bundle; "" while nothing was.
    """

    model: str
    at: str
    by: str
    problem: str
    snapshot: str
    git_commit: str
    warn_looks: int = 0
    max_looks: int = 0
    decision: str = ""
    bundle: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the look as JSON values."""
        return asdict(self)


class Ledger:
    """Holdouts and the looks at them, in a store."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._audit = AuditLog(storage)

    def open(self, holdout: Holdout, now: datetime) -> None:
        """Write down a holdout that was not heard of before."""
        known = replace(holdout, opened=now.isoformat())  # to the microsecond: it orders them
        with suppress(ConflictError):
            self.storage.compare_and_swap(_key(holdout.id), encode(known.to_dict()), None)

    def look(self, holdout: Holdout, look: Look, now: datetime) -> tuple[int, float]:
        """Record that a model is scored on a holdout; return its own looks and the inherited ones.

        A model that was scored on it before is not counted again.
        """
        self.open(holdout, now)
        if look.model not in self.looks(holdout.id):
            facts = {name: getattr(look, name) for name in _LOOK_FACTS}
            self._audit.append(HOLDOUT_LOOK, holdout.id, facts, now, look.by)
        return self.counts(holdout)

    def decide(
        self,
        bundle: str,
        holdout: str,
        model: str,
        decision: str,
        facts: Mapping[str, Any],
        now: datetime,
        by: str,
    ) -> bool:
        """Record what was decided on a bundle after a look; False when the log tells it already."""
        said = {**facts, "decision": decision, "holdout": holdout, "model": model}
        if any(
            line.kind == VERDICT and line.subject == bundle and line.facts == said
            for line in self._audit.lines()
        ):
            return False
        self._audit.append(VERDICT, bundle, said, now, by)
        return True

    def refresh(self, old: str, holdout: Holdout, reason: str, now: datetime, by: str) -> None:
        """Record that a holdout takes the place of another one."""
        self.open(holdout, now)
        facts = {"problem": holdout.problem, "in_place_of": old, "reason": reason}
        self._audit.append(HOLDOUT_REFRESH, holdout.id, facts, now, by)

    def looks(self, holdout: str) -> dict[str, Look]:
        """Return the looks at a holdout by model, the oldest first."""
        return self._all().get(holdout, {})

    def counts(self, holdout: Holdout) -> tuple[int, float]:
        """Return how many models were scored on a holdout, and how many on rows that it has in common with
        others: each model once, by the largest fraction of this holdout's rows that it was scored on.
        """
        looks = self._all()
        own = looks.get(holdout.id, {})
        shares: dict[str, float] = {}
        for other in self.holdouts():
            if other.id == holdout.id or other.columns != holdout.columns or not looks.get(other.id):
                continue
            share = shared_fraction(holdout.sketch, other.sketch)
            for model in looks[other.id].keys() - own.keys():
                shares[model] = max(share, shares.get(model, 0.0))
        return len(own), float(sum(shares.values()))

    def holdouts(self, problem: str = "") -> list[Holdout]:
        """Return all holdouts, or those of a problem, the oldest first."""
        keys = [key for key in self.storage.list(_PREFIX) if key.endswith(".json")]
        found = [Holdout.from_dict(document) for document in read_documents(self.storage, keys)]
        wanted = [one for one in found if not problem or one.problem == problem]
        return sorted(wanted, key=lambda one: (one.opened, one.id))

    def get(self, holdout: str) -> Holdout:
        """Return a holdout by the beginning of its id."""
        found = [one for one in self.holdouts() if one.id.startswith(holdout)]
        if len(found) != 1 or not holdout:
            raise NotFoundError(
                f"expected the beginning of one holdout's id; {len(found)} begin with '{holdout}'."
                " `cd4ml data holdout show` lists them"
            )
        return found[0]

    def _all(self) -> dict[str, dict[str, Look]]:
        found: dict[str, dict[str, Look]] = {}
        for line in self._audit.lines():
            facts = line.facts
            if line.kind == HOLDOUT_LOOK:
                look = Look(at=line.at, by=line.by, **{name: facts[name] for name in _LOOK_FACTS})
                found.setdefault(line.subject, {}).setdefault(look.model, look)
            elif line.kind == VERDICT:
                holdout, model = str(facts.get("holdout", "")), str(facts.get("model", ""))
                if seen := found.get(holdout, {}).get(model):
                    decision = str(facts.get("decision", ""))
                    found[holdout][model] = replace(seen, decision=decision, bundle=line.subject)
        return found


def _key(holdout: str) -> str:
    return f"{_PREFIX}{holdout}.json"
