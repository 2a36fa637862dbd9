"""Make the state of a history table from a snapshot of newer data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cd4ml.errors import ContractError, DataError, UsageError
from cd4ml.features.changes import state_changes, step_text
from cd4ml.features.columns import length
from cd4ml.features.fitting import refresh_state
from cd4ml.features.plan import AgeFeature
from cd4ml.features.state import State
from cd4ml.models.champion import lacking, needed_columns
from cd4ml.models.history import check_newer
from cd4ml.models.runtime import Bundle
from cd4ml.tables.facts import apply_filters, read_facts, read_tables
from cd4ml.tables.snapshot import Snapshot

__all__ = ["Update", "changes_text", "newer_state", "require_history"]


@dataclass(frozen=True)
class Update:
    """A newer state.

    Attributes
    ----------
    state : State
        Trimmed.
    rows : int
        Facts from which it was made.
    steps_added : int
        How many steps it knows beyond the bundle's own history.
    changes : dict
        See `state_changes`.
    """

    state: State
    rows: int
    steps_added: int
    changes: dict[str, Any]


def newer_state(bundle: Bundle, snapshot: Snapshot, scratch: Path, steps: int = 0) -> Update:
    """Return the state that a bundle's features have over a snapshot.

    Parameters
    ----------
    snapshot : Snapshot
        All data: those of the bundle's training and the newer ones.
    scratch : Path
        An existing folder for a history that is larger than memory.
    steps : int
        Serve the last `steps` recorded steps and all that come after; with 0 every row that the bundle's own
        history serves, so that its holdout can be replayed.

    Raises
    ------
    UsageError
        If the bundle's features look nothing up.
    DataError
        If the snapshot is another problem's, lacks what features need, ends before the bundle's own history,
        or does not reach back as far as features do.
    """
    _check_use(bundle, snapshot)
    problem, plan = bundle.problem, bundle.plan
    facts, _ = apply_filters(plan, read_facts(problem, snapshot.path, needed_columns(bundle)))
    tables = read_tables(problem, snapshot.path)
    state = refresh_state(plan, bundle.state, facts.columns, tables, scratch=scratch)
    check_newer(bundle, state)
    _check_reach(bundle, state)
    changes = state_changes(plan, bundle.state, state)
    moved = _moved(bundle.state, state)
    added = state.last_step - (bundle.state.last_step + moved)
    if state.panels:
        kept = state.last_step - (bundle.state.first_step + moved) + 1 - plan.needed_steps
        state = state.trim(max(1, steps or kept), plan.needed_steps)
    return Update(state, length(facts.columns), added, changes)


def _moved(old: State, new: State) -> int:
    """Return how many steps later a step has its number in the newer state."""
    return (old.origin_seconds - new.origin_seconds) // old.step_seconds if old.step_seconds else 0


def require_history(bundle: Bundle) -> None:
    """Refuse a bundle whose features look nothing up.

    Raises
    ------
    UsageError
    """
    state = bundle.state
    if not (state.panels or state.lookups or any(isinstance(f, AgeFeature) for f in bundle.plan.features)):
        raise UsageError(
            f"the features of '{bundle.problem.name}' look at nothing but the row: there is no history to"
            " update"
        )


def _check_use(bundle: Bundle, snapshot: Snapshot) -> None:
    require_history(bundle)
    problem = bundle.problem
    found = snapshot.manifest["problem"]
    if found != problem.name:
        raise DataError(
            f"expected a snapshot of '{problem.name}', the bundle's problem; found one of '{found}'"
        )
    lacks = lacking(bundle, problem, snapshot.manifest["tables"])
    if lacks:
        first = lacks[0]
        what = f"{first['table']}.{first['column']}" if first["column"] else first["table"]
        raise ContractError(
            f"expected '{what}' ({first['needed']}) in the snapshot, as the bundle needs it; found"
            f" {first['found'] or 'none'}. Take the snapshot by the bundle's problem"
        )


def _check_reach(bundle: Bundle, state: State) -> None:
    """Refuse data that begin too late for the next prediction, unless the bundle's own began there too."""
    needed = state.last_step + 1 - bundle.plan.needed_steps
    own = bundle.state.first_step + _moved(bundle.state, state)
    wanted = max(needed, own)
    if state.panels and wanted < 0:
        raise DataError(
            f"expected data from {step_text(state, wanted)} on, as far as features look back; found data"
            f" from {step_text(state, 0)} on. Give all data, the old and the new"
        )


def changes_text(changes: Mapping[str, Any]) -> str:
    """Return one line that says how data contradict the bundle's own history; "" where they do not."""
    parts = []
    if changes["steps"]:
        most = max(changes["series"], key=lambda one: one["members"])
        between = " to ".join(dict.fromkeys((changes["first"], changes["last"])))
        by = ", ".join(most["by"]) or "all"
        parts.append(f"steps with other values: {changes['steps']} ({between})")
        parts.append(f"members of {by} with other values: {most['members']}")
    for group in changes["groups"]:
        name = ", ".join(group["by"])
        if group["gone"]:
            parts.append(f"members of {name} that are gone: {group['gone']}")
        if group["first_seen"]:
            parts.append(f"members of {name} first seen at another time: {group['first_seen']}")
    for table in changes["tables"]:
        parts.append(f"rows of '{table['table']}' changed: {table['changed']}, gone: {table['gone']}")
    if not parts:
        return ""
    return "the data contradict the bundle's own history: " + "; ".join(parts) + ". Features follow the data"
