"""Keep count of the looks at a holdout, and of what was decided after each."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.errors import GateRejected
from cd4ml.steps.documents import problem_of, read

if TYPE_CHECKING:
    from cd4ml.adapters.ledger import Holdout
    from cd4ml.domain.holdout_budget import HoldoutUse
    from cd4ml.problem import Problem

__all__ = ["holdout_of", "model_hash", "record_look", "record_verdict", "refresh_holdout"]


def record_look(
    problem: Path,
    snapshot: Path,
    model: Path,
    store: str,
    out: Path,
    git_commit: str = "",
    by: str = "",
    now: datetime | None = None,
) -> dict[str, float]:
    """Record that a model is scored on the holdout; to be called before anybody sees the scores.

    Parameters
    ----------
    problem, snapshot, model : Path
        What the steps before wrote.
    store : str
        Where the ledger is; "" for the default store.
    out : Path
        The file to write: which holdout, its looks and its budget.
    git_commit, by : str
        What made the model, and who; by default the environment says who.

    Returns
    -------
    dict of str to float
        `looks` and the limits `warn_looks` and `max_looks`.
    """
    from cd4ml.adapters.actor import current_actor
    from cd4ml.adapters.ledger import Ledger, Look
    from cd4ml.adapters.storage import atomic, open_store
    from cd4ml.domain.holdout_budget import budget_of

    found = problem_of(problem)
    moment = now or datetime.now(UTC)
    holdout = holdout_of(found, snapshot)
    budget = budget_of(found.holdout_budget, holdout.size)
    look = Look(
        model=model_hash(model),
        at=moment.isoformat(timespec="seconds"),
        by=current_actor(by),
        problem=found.name,
        snapshot=read(snapshot / "manifest.json")["id"],
        git_commit=git_commit,
        warn_looks=budget.warn_looks,
        max_looks=budget.max_looks,
    )
    counts = Ledger(open_store(store or None)).look(holdout, look, moment)
    use = _use(found, holdout, counts)
    rows = {"rows": holdout.rows, "first": holdout.first, "last": holdout.last}
    atomic.write_json(out, {**use.to_dict(), **rows, "look": look.to_dict()})
    return {
        "looks": use.looks,
        "warn_looks": float(use.budget.warn_looks),
        "max_looks": float(use.budget.max_looks),
    }


def record_verdict(
    verdict: Path, ledger: Path, store: str, by: str = "", now: datetime | None = None
) -> bool:
    """Put the decision on a bundle into the audit log, with the look that led to it and the gates against it.

    Returns False when the log tells it already.
    """
    from cd4ml.adapters.actor import current_actor
    from cd4ml.adapters.ledger import Ledger
    from cd4ml.adapters.storage import open_store

    found, looked = read(verdict), read(ledger)
    gates = {
        f"gates_{status}": [gate["name"] for gate in found["gates"] if gate["status"] == status]
        for status in ("fail", "warn")
    }
    facts = {"model_name": found["model"], **gates}
    return Ledger(open_store(store or None)).decide(
        found["subject"]["bundle"],
        looked["holdout"],
        looked["look"]["model"],
        found["decision"],
        facts,
        now or datetime.now(UTC),
        current_actor(by),
    )


def refresh_holdout(
    problem: Problem, snapshot: Path, store: str, reason: str, by: str = "", now: datetime | None = None
) -> dict[str, Any]:
    """Let the holdout of a snapshot take the place of the one that was looked at last, if it may decide.

    Raises
    ------
    GateRejected
        When it is the same one, or shares so many rows with others that its budget is spent already.
    """
    from cd4ml.adapters.actor import current_actor
    from cd4ml.adapters.ledger import Ledger
    from cd4ml.adapters.storage import open_store

    ledger, holdout = Ledger(open_store(store or None)), holdout_of(problem, snapshot)
    use = _use(problem, holdout, ledger.counts(holdout))
    if use.own:
        raise GateRejected(
            f"the holdout of '{problem.name}' still is {holdout.id[:12]}: the same {holdout.rows:,} rows,"
            f" looked at {use.looks:.4g} times. Bring newer data, or change `split` or `search.seed`"
        )
    if use.looks >= use.budget.max_looks:
        raise GateRejected(
            f"the holdout {holdout.id[:12]} shares rows with others that were looked at: that counts as"
            f" {use.looks:.4g} looks of {use.budget.max_looks}. Bring more rows that no model was scored on"
        )
    others = [one.id for one in ledger.holdouts(problem.name) if one.id != holdout.id]
    old = others[-1] if others else ""
    ledger.refresh(old, holdout, reason, now or datetime.now(UTC), current_actor(by))
    rows = {"rows": holdout.rows, "first": holdout.first, "last": holdout.last}
    return {**use.to_dict(), **rows, "in_place_of": old}


def holdout_of(problem: Problem, snapshot: Path) -> Holdout:
    """Return the holdout of a snapshot, as the ledger describes it."""
    from cd4ml.adapters.ledger import Holdout
    from cd4ml.tables.holdout import holdout_rows

    rows = holdout_rows(problem, snapshot)
    return Holdout(
        rows.id, problem.name, rows.rows, rows.size, rows.first, rows.last, rows.columns, rows.sketch
    )


def model_hash(model: Path) -> str:
    """Return a hash of what a model folder predicts and decides with: ONNX files, and treatment.json."""
    from cd4ml.adapters.storage import atomic
    from cd4ml.adapters.storage.hashing import sha256_bytes, sha256_file
    from cd4ml.errors import IntegrityError

    paths = sorted([*model.glob("*.onnx"), *model.glob("treatment.json")])
    if not paths:
        raise IntegrityError(f"expected model.onnx in {model}; it is missing. Run the step before again")
    return sha256_bytes(atomic.dumps({path.name: sha256_file(path) for path in paths}).encode())


def _use(problem: Problem, holdout: Holdout, counts: tuple[int, float]) -> HoldoutUse:
    from cd4ml.domain.holdout_budget import HoldoutUse, budget_of

    return HoldoutUse(
        holdout.id, holdout.size, counts[0], counts[1], budget_of(problem.holdout_budget, holdout.size)
    )
