"""The dataset of a problem: features, target, split, baselines and slices as memory-mapped arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cd4ml.adapters.storage import atomic
from cd4ml.domain.splits import Split
from cd4ml.errors import DataError, NotFoundError
from cd4ml.features.columns import (
    CategoryArray,
    ColumnLike,
    ColumnSet,
    as_float,
    concat,
    kind_of,
    length,
    take,
)
from cd4ml.features.expressions import Expression
from cd4ml.features.fitting import MEMORY_BUDGET_BYTES, fit_state
from cd4ml.features.plan import Plan, compile_plan, target_values
from cd4ml.features.state import State
from cd4ml.features.transform import enrich, steps_of, transform
from cd4ml.problem import Problem
from cd4ml.tables.baselines import baseline_values
from cd4ml.tables.facts import Facts, apply_filters, columns_needed, read_facts, read_tables
from cd4ml.tables.slices import slice_column
from cd4ml.tables.splitting import check_target, describe_split, split_rows

__all__ = ["Dataset", "build_dataset"]

_CHUNK_ROWS = 1_000_000
_ARRAYS = ("X", "y", "weight", "step", "cluster", "entity", "role", "times")


@dataclass(frozen=True)
class Dataset:
    """Rows as arrays, in the order of the snapshot's facts; memory-mapped.

    Parameters
    ----------
    X : float32 [n, k]
        Features; NaN is unknown.
    y : float64 [n]
        Target on its original scale; 0 or 1 for classification.
    weight : float64 [n]
        1 where none is asked.
    step : int64 [n]
        Step of the calendar; 0 without time.
    cluster, entity : int64 [n]
        Codes of what is resampled as a whole, and of the entity; codes are dense from 0.
    role : int8 [n]
        0 train, 1 holdout, 2 left out by the gap.
    folds : list of (bool [n], bool [n])
        Training and validation rows.
    baselines : dict
        Name -> float64 [n], from training rows alone, on the original scale.
    slices : dict
        Column -> CategoryArray [n]; numbers of many values are cut into ranges.
    excluded : dict
        Column that the model may not rest on -> CategoryArray or, of numbers, float64 [n].
    times : datetime64[s] [n]
        NaT without time.
    names : tuple of str
        Of the features.
    meta : dict
        dataset.json.
    folder : Path
    """

    X: NDArray[np.float32]
    y: NDArray[np.float64]
    weight: NDArray[np.float64]
    step: NDArray[np.int64]
    cluster: NDArray[np.int64]
    entity: NDArray[np.int64]
    role: NDArray[np.int8]
    times: NDArray[np.datetime64]
    folds: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]
    baselines: dict[str, NDArray[np.float64]]
    slices: dict[str, CategoryArray]
    excluded: dict[str, CategoryArray | NDArray[np.float64]]
    names: tuple[str, ...]
    meta: dict[str, Any]
    folder: Path

    @classmethod
    def load(cls, folder: Path) -> Dataset:
        """Open what `build_dataset` wrote.

        Raises
        ------
        NotFoundError
            When the folder is no dataset.
        """
        file = folder / "dataset.json"
        if not file.exists():
            raise NotFoundError(
                f"expected a dataset in {folder}; found no dataset.json. Build it from a snapshot"
            )
        meta = json.loads(file.read_text(encoding="utf-8"))
        folds = np.load(folder / "folds.npy", mmap_mode="r")
        return cls(
            **{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS},
            folds=[(np.asarray(fold == 1), np.asarray(fold == 2)) for fold in folds],
            baselines={
                name: np.load(folder / f"baseline-{name}.npy", mmap_mode="r") for name in meta["baselines"]
            },
            slices={
                name: CategoryArray(np.load(folder / f"slice{number}.npy", mmap_mode="r"), tuple(categories))
                for number, (name, categories) in enumerate(meta["slices"].items())
            },
            excluded={
                name: values if categories is None else CategoryArray(values, tuple(categories))
                for number, (name, categories) in enumerate(meta["excluded"].items())
                for values in [np.load(folder / f"excluded{number}.npy", mmap_mode="r")]
            },
            names=tuple(meta["names"]),
            meta=meta,
            folder=folder,
        )

    @property
    def state(self) -> State:
        """The features' state, read from `state/` each time."""
        return State.load(self.folder / "state", mapped=True)


def build_dataset(
    problem: Problem,
    snapshot_folder: Path,
    folder: Path,
    *,
    memory_budget_bytes: int = MEMORY_BUDGET_BYTES,
) -> dict[str, Any]:
    """Make the dataset of a snapshot; the same snapshot and problem give the same bytes.

    Parameters
    ----------
    snapshot_folder : Path
        Has `<table>.parquet` for each table of the problem (optional ones may be absent).
    folder : Path
        What is written; replaced as a whole.
    memory_budget_bytes : int
        For the history: larger ones are files, filled a part at a time.

    Returns
    -------
    dict
        dataset.json.

    Raises
    ------
    DataError
        When no rows are left, the target is constant or null, a class or time is alone, or a split has no
        rows.
    """
    plan = compile_plan(problem)
    facts = read_facts(problem, snapshot_folder, columns_needed(plan))
    rows_in = length(facts.columns)
    facts, filtered = apply_filters(plan, facts)
    target = target_values(problem, facts.columns)
    check_target(problem, target, rows_in, filtered)
    split = split_rows(plan, facts)
    check_target(problem, target, rows_in, filtered, split)
    with atomic.directory(folder) as draft:
        (draft / "state").mkdir()
        state = fit_state(
            plan,
            facts.columns,
            read_tables(problem, snapshot_folder),
            split.train,
            memory_budget_bytes=memory_budget_bytes,
            scratch=draft / "state",
        )
        state.save(draft / "state")
        writer = _Writer(plan, state, facts, target, split, draft)
        meta = writer.write(memory_budget_bytes)
        meta["rows"] = {"in": rows_in, "filtered": filtered, "used": len(target)}
        atomic.write_json(draft / "dataset.json", meta)
    return meta


class _Writer:
    def __init__(
        self, plan: Plan, state: State, facts: Facts, target: NDArray[np.float64], split: Split, folder: Path
    ) -> None:
        self.plan, self.state, self.facts = plan, state, facts
        self.target, self.split, self.folder = target, split, folder
        self.rows = len(target)

    def write(self, memory_budget_bytes: int) -> dict[str, Any]:
        """Write all but dataset.json, and return that without its counts of rows."""
        self._features(memory_budget_bytes)
        self._rows()
        role = self._roles()
        baselines = self._baselines(role)
        slices, excluded = self._slices(role), self._excluded(role)
        problem = self.plan.problem
        treated = {name for one in problem.mitigations for name in one.columns or problem.sensitive}
        inputs = [*self.plan.inputs, *sorted(self.plan.facts_for(treated))]
        columns = list(dict.fromkeys([*inputs, problem.target.column]))
        self.facts.write_rows(np.flatnonzero(role == 1), columns, self.folder / "holdout.parquet")
        return {
            "problem": problem.name,
            "task": problem.task,
            "names": list(self.state.names),
            "kinds": list(self.state.kinds),
            "inputs": dict(self.plan.inputs),
            "needed_steps": self.plan.needed_steps,
            "baselines": baselines,
            "slices": slices,
            "excluded": excluded,
            "clusters": {"kind": problem.metrics.cluster, "count": self.clusters},
            "split": describe_split(self.plan, self.split, self.step, self.state.origin_seconds),
        }

    def _save(self, name: str, array: NDArray[Any]) -> None:
        np.save(self.folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)

    def columns(self, names: list[str]) -> ColumnSet:
        """Return derived and joined columns of all rows, made a part at a time."""
        needed = {name: self.facts.columns[name] for name in sorted(self.plan.facts_for(names))}
        parts = []
        for first in range(0, self.rows, _CHUNK_ROWS):
            made = enrich(self.plan, self.state, take(needed, slice(first, first + _CHUNK_ROWS)), names)
            parts.append({name: made[name] for name in names})
        return concat(parts)

    def _features(self, memory_budget_bytes: int) -> None:
        from numpy.lib.format import open_memmap

        shape = (self.rows, len(self.state.names))
        matrix = open_memmap(self.folder / "X.npy", mode="w+", dtype=np.float32, shape=shape)
        transform(
            self.plan, self.state, self.facts.columns, out=matrix, memory_budget_bytes=memory_budget_bytes
        )
        matrix.flush()
        self._save("y", self.target)

    def _rows(self) -> None:
        problem = self.plan.problem
        times = np.full(self.rows, np.datetime64("NaT", "s"))
        timed: ColumnSet = {}
        if problem.time is not None:
            timed = self.columns([problem.time.column])
            times = timed[problem.time.column]  # type: ignore[assignment]
        self.step = steps_of(self.plan, self.state, timed) if timed else np.zeros(self.rows, dtype=np.int64)
        self.entity = self.facts.entity_codes(problem.entity)
        found = {
            "row": np.arange(self.rows),
            "day": times.astype("datetime64[D]").astype(np.int64),
            "step": self.step,
            "entity": self.entity,
        }[problem.metrics.cluster]
        cluster = np.unique(found, return_inverse=True)[1].reshape(-1)
        self.clusters = int(cluster.max()) + 1
        self._save("step", self.step)
        self._save("times", times)
        self._save("entity", self.entity)
        self._save("cluster", cluster.astype(np.int64))
        self._save("weight", self._weights())

    def _weights(self) -> NDArray[np.float64]:
        text = self.plan.problem.metrics.weight
        if text is None:
            return np.ones(self.rows)
        expression = Expression.parse(text, ("metrics", "weight"))
        values = expression.evaluate(self.columns(sorted(expression.columns)))
        weight = np.broadcast_to(np.asarray(values, dtype=np.float64), (self.rows,))
        wrong = np.flatnonzero(~(weight >= 0))
        if wrong.size:
            raise DataError(
                f"expected weights of at least 0 from `{text}`; found {weight[wrong[0]]} in {wrong.size} of "
                f"{self.rows} rows, use fill() for nulls"
            )
        if not weight.any():
            raise DataError(f"expected a weight above 0 from `{text}`; found zeros alone")
        return weight

    def _roles(self) -> NDArray[np.int8]:
        role = np.where(self.split.holdout, 1, np.where(self.split.train, 0, 2)).astype(np.int8)
        folds = [np.where(f.validation, 2, np.where(f.train, 1, 0)) for f in self.split.folds]
        self._save("role", role)
        self._save("folds", np.array(folds, dtype=np.int8).reshape(len(folds), self.rows))
        return role

    def _baselines(self, role: NDArray[np.int8]) -> list[str]:
        names = sorted({name for baseline in self.plan.problem.baselines for name in baseline.by})
        columns = self.columns(names) if names else {}
        for baseline in self.plan.problem.baselines:
            values = baseline_values(
                baseline, self.plan, self.state, self.facts.columns, columns, self.target, role == 0
            )
            self._save(f"baseline-{baseline.name}", values)
        return [baseline.name for baseline in self.plan.problem.baselines]

    def _slices(self, role: NDArray[np.int8]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        names = sorted({*self.plan.problem.slices, *self.plan.problem.sensitive})
        for number, name in enumerate(names):
            column: ColumnLike = self.columns([name])[name]
            cut = slice_column(column, role == 0)
            self._save(f"slice{number}", cut.codes)
            found[name] = list(cut.categories)
        return found

    def _excluded(self, role: NDArray[np.int8]) -> dict[str, list[str] | None]:
        """Write the columns of `explanations.excluded`; numbers of more than two values stay numbers."""
        found: dict[str, list[str] | None] = {}
        for number, name in enumerate(sorted(self.plan.problem.explanations.excluded)):
            column: ColumnLike = self.columns([name])[name]
            if kind_of(column) == "number" and np.unique(as_float(column)).size > 2:  # type: ignore[arg-type]
                self._save(f"excluded{number}", as_float(column))  # type: ignore[arg-type]
                found[name] = None
            else:
                groups = slice_column(column, role == 0)
                self._save(f"excluded{number}", groups.codes)
                found[name] = list(groups.categories)
        return found
