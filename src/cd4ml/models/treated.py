"""A treatment where rows are raw columns: which of them it needs, and the group of each row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from cd4ml.domain.treatment import IntArray, Treatment
from cd4ml.errors import DataError, IntegrityError
from cd4ml.features.columns import CategoryArray, ColumnSet, as_category
from cd4ml.features.operations import require_columns
from cd4ml.features.plan import Plan
from cd4ml.features.state import State
from cd4ml.features.transform import enrich

__all__ = ["TREATMENT", "group_codes", "load_treatment", "serving_inputs"]

TREATMENT = "treatment.json"
"""A model without a treatment has no such file."""


def load_treatment(folder: Path) -> Treatment | None:
    """Return the treatment of a model's folder or a bundle; None without one.

    Raises
    ------
    IntegrityError
        If it cannot be read.
    """
    path = folder / TREATMENT
    if not path.is_file():
        return None
    try:
        return Treatment.from_dict(json.loads(path.read_bytes()))
    except (DataError, ValueError) as error:
        raise IntegrityError(f"{TREATMENT} of '{folder.name}' cannot be read: {error}") from error


def serving_inputs(plan: Plan, treatment: Treatment | None) -> dict[str, str]:
    """Return the fact columns that a caller must send, with their types: features' and the treatment's.

    A model that does not use a sensitive column still needs it where its treatment goes by it.
    """
    needed = set(plan.inputs)
    if treatment is not None and treatment.needs_groups:
        needed |= plan.facts_for(treatment.groups.columns)
    return {name: column.type for name, column in plan.problem.fact.columns.items() if name in needed}


def group_codes(plan: Plan, state: State, treatment: Treatment, columns: ColumnSet) -> IntArray:
    """Return the group of each row, int64 of shape (n,), from columns as a caller sends them.

    Raises
    ------
    DataError
        If a column that the groups are told by is absent.
    """
    names = treatment.groups.columns
    facts = plan.facts_for(names)
    require_columns(columns, sorted(facts))
    made = enrich(plan, state, {name: columns[name] for name in sorted(facts)}, names)
    coded: dict[str, CategoryArray] = {name: as_category(made[name]) for name in names}
    return np.asarray(treatment.groups.of(coded))
