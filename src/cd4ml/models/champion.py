"""A bundle of an earlier training, asked about the holdout of this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cd4ml.errors import DataError, IntegrityError, ProblemError
from cd4ml.features.columns import take
from cd4ml.features.fitting import refresh_state
from cd4ml.features.leakage import check_problem
from cd4ml.features.plan import (
    AgeFeature,
    FeaturePart,
    LagFeature,
    RollingFeature,
    SeasonalFeature,
    compile_plan,
)
from cd4ml.models.data import HOLDOUT, FloatArray
from cd4ml.models.treated import serving_inputs
from cd4ml.tables.compatibility import contract_changes, contract_of
from cd4ml.tables.facts import Facts, apply_filters, columns_needed, read_facts, read_tables

if TYPE_CHECKING:
    from cd4ml.models.runtime import Bundle
    from cd4ml.problem import Problem, Table

__all__ = [
    "another_question",
    "holdout_facts",
    "lacking",
    "may_have_seen",
    "needed_columns",
    "predict_holdout",
]


def another_question(theirs: Problem, problem: Problem) -> str:
    """Return why the predictions of two problems' models do not compare; "" when they do.

    They do when target and task are the same and the older model looks at nothing that the problem says is
    not known in time: a champion that sees what it could not would never be beaten.
    """
    if (theirs.task, theirs.target.column, theirs.target.positive) != (
        problem.task,
        problem.target.column,
        problem.target.positive,
    ):
        what = [
            f"{p.task} of '{p.target.column}' {p.target.positive or ''}".strip() for p in (theirs, problem)
        ]
        return f"it does {what[0]}, and the problem now asks for {what[1]}"
    if (theirs.time is None) != (problem.time is None):
        return "one of the two problems has a calendar and the other has none"
    asked = _as_known(theirs, problem)
    try:
        check_problem(asked)
        honest = compile_plan(asked)
    except ProblemError as error:
        return f"it looks at what the problem now says is not known in time ({error})"
    early = [
        feature.name
        for feature, other in zip(compile_plan(theirs).features, honest.features, strict=True)
        if _delay(feature) < _delay(other)
    ]
    return (
        f"its feature '{early[0]}' looks at what the problem now says is not known in time" if early else ""
    )


def _as_known(theirs: Problem, problem: Problem) -> Problem:
    """Return the older problem with the horizon of the newer one, and with columns known when it says."""
    tables = {
        name: _known_as(table, problem.fact if name in theirs.facts else problem.tables.get(name))
        for name, table in theirs.tables.items()
    }
    return theirs.model_copy(update={"horizon": problem.horizon, "tables": tables})


def _known_as(table: Table, other: Table | None) -> Table:
    if other is None:
        return table
    columns = {
        name: column.model_copy(update={"known": other.columns[name].known})
        if name in other.columns
        else column
        for name, column in table.columns.items()
    }
    return table.model_copy(update={"known": other.known, "columns": columns})


def _delay(feature: FeaturePart) -> int:
    """Return how many steps before the predicted one the newest value lies; 0 for what is no history."""
    match feature:
        case LagFeature() | AgeFeature():
            return feature.delay
        case RollingFeature():
            return feature.after
        case SeasonalFeature():
            return min(feature.delays)
    return 0


def lacking(
    bundle: Bundle, problem: Problem, tables: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return what a bundle's features need and a snapshot has not, or has in a type that cannot be read.

    Parameters
    ----------
    problem : Problem
        Whose facts the holdout is of.
    tables : mapping
        "tables" of the snapshot's manifest.

    Returns
    -------
    list of dict
        "table", "column" ("" for the whole table), "needed" and "found" (a type, or None); none is right.
    """
    theirs = _over(bundle.problem, problem)
    facts, wanted = needed_columns(bundle), contract_of(theirs)
    need = {join.table: wanted[join.table] for join in theirs.joins}
    for name in problem.facts:
        columns = [column for column in wanted[name]["columns"] if column["name"] in facts]
        need[name] = {**wanted[name], "columns": columns}
    changes = contract_changes({name: tables[name] for name in need if name in tables}, need)
    return [
        {"table": change.table, "column": change.column, "needed": change.new, "found": change.old}
        for change in changes
        if change.change in ("added", "type") and not change.backward
    ]


def needed_columns(bundle: Bundle) -> set[str]:
    """Return the fact columns that a bundle's features, history and treatment are made of."""
    # Without what only training and judging ask of the rows.
    metrics = bundle.problem.metrics.model_copy(update={"weight": None})
    empty: dict[str, Any] = {"slices": [], "sensitive": [], "baselines": [], "metrics": metrics}
    bare = replace(bundle.plan, problem=bundle.problem.model_copy(update=empty))
    return columns_needed(bare) | set(serving_inputs(bundle.plan, bundle.treatment))


def _over(theirs: Problem, problem: Problem) -> Problem:
    """Return the older problem over the fact tables of the newer one, which it reads by its own columns."""
    facts = {name: theirs.fact.model_copy(update={"optional": False}) for name in problem.facts}
    return theirs.model_copy(update={"facts": problem.facts, "tables": {**theirs.tables, **facts}})


def holdout_facts(problem: Problem, snapshot: Path, role: npt.NDArray[np.int8]) -> Facts:
    """Return which raw rows of a snapshot are the holdout of a dataset, in its order.

    Parameters
    ----------
    role : int8 [n]
        `Dataset.role`.

    Raises
    ------
    IntegrityError
        If snapshot and dataset do not belong together.
    """
    plan = compile_plan(problem)
    facts, _ = apply_filters(plan, read_facts(problem, snapshot, columns_needed(plan)))
    if len(facts.row) != len(role):
        raise IntegrityError(
            f"the dataset has {len(role)} rows, the snapshot gives {len(facts.row)}; build the dataset again"
        )
    return facts.take(np.flatnonzero(np.asarray(role) == HOLDOUT))


def predict_holdout(
    bundle: Bundle, problem: Problem, snapshot: Path, held: Facts, scratch: Path
) -> dict[str, FloatArray]:
    """Return a bundle's outputs for the holdout rows of a dataset, in their order: `Bundle.outputs`.

    Its features are made by its own plan; what it counted in training stays, and the history is that of the
    snapshot, as the challenger's is.

    Parameters
    ----------
    problem : Problem
        That of the dataset; the bundle's may have other features, filters, joins.
    held : Facts
        `holdout_facts`.
    scratch : Path
        An existing folder for a history that is larger than memory.

    Raises
    ------
    DataError
        If the bundle predicts what is not finite, or no probability.
    """
    theirs = _over(bundle.problem, problem)
    facts = read_facts(theirs, snapshot, needed_columns(bundle))
    starts = np.searchsorted(facts.table, np.arange(len(problem.facts)))
    asked = take(facts.columns, starts[held.table] + held.row)
    history, _ = apply_filters(bundle.plan, facts)
    tables = read_tables(theirs, snapshot)
    state = refresh_state(bundle.plan, bundle.state, history.columns, tables, scratch=scratch)
    needed = serving_inputs(bundle.plan, bundle.treatment)
    found = replace(bundle, state=state).outputs({name: asked[name] for name in needed})
    _check_values(problem, found["prediction"])
    return found


def _check_values(problem: Problem, predicted: FloatArray) -> None:
    right = np.isfinite(predicted)
    what = "NaN or infinite"
    if problem.task == "classification":
        right, what = right & (predicted >= 0) & (predicted <= 1), "no probability"
    if not right.all():
        raise DataError(f"it predicts what is {what} in {int((~right).sum())} of {len(right)} holdout rows")


def may_have_seen(
    told: Mapping[str, Any], lineage: Mapping[str, Any], meta: Mapping[str, Any], snapshot_id: str
) -> str:
    """Return why a bundle may have learnt from the holdout; "" when it did not.

    Parameters
    ----------
    told : mapping
        data.json of the bundle.
    lineage : mapping
        lineage.json of the bundle.
    meta : mapping
        dataset.json of the holdout.
    snapshot_id : str
        Of the holdout.
    """
    train, held = told.get("split", {}).get("train", {}), meta["split"]["holdout"]
    if meta["split"]["kind"] == "time" and train.get("last") and held.get("first"):
        last, first = np.datetime64(train["last"], "s"), np.datetime64(held["first"], "s")
        return (
            f"it learnt from rows up to {train['last']}, the holdout begins {held['first']}"
            if last >= first
            else ""
        )
    same = all(told.get(part) == meta.get(part) for part in ("rows", "split"))
    if same and lineage.get("snapshot") == snapshot_id:
        return ""
    return "its training had another snapshot or split, so it may have learnt from holdout rows"
