"""Which rows a holdout has, whatever snapshot, problem or order they come in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cd4ml.domain.row_sketch import RowSketch, sketch
from cd4ml.features.calendar import first_step_time, step_index
from cd4ml.features.plan import compile_plan
from cd4ml.tables.facts import Facts, apply_filters, columns_needed, read_facts
from cd4ml.tables.splitting import row_times, split_rows

if TYPE_CHECKING:
    import polars as pl

    from cd4ml.features.plan import Plan
    from cd4ml.problem import Problem

__all__ = ["HoldoutRows", "holdout_rows"]

_BATCH_ROWS = 500_000


@dataclass(frozen=True)
class HoldoutRows:
    """The rows of a holdout.

    Attributes
    ----------
    id : str
        64 hexadecimal digits over the rows alone: not over their order, the snapshot or the problem's name.
    rows, size : int
        Rows, and independent units (`metrics.cluster`) among them.
    first, last : str
        Times of the first and last row; "" without time.
    columns : tuple of str
        What a row is known by: the unique columns of the facts and the target; without unique ones all.
    sketch : RowSketch
        To tell what other holdouts have in common with it.
    """

    id: str
    rows: int
    size: int
    first: str
    last: str
    columns: tuple[str, ...]
    sketch: RowSketch


def holdout_rows(problem: Problem, snapshot_folder: Path) -> HoldoutRows:
    """Return the holdout that the split of a problem makes of a snapshot.

    Features have no part in it: a new one does not make a new holdout. The same rows are the same holdout for
    every problem that knows a row by the same columns.

    Raises
    ------
    DataError
        When the rows cannot be split.
    """
    plan = compile_plan(problem)
    facts, _ = apply_filters(plan, read_facts(problem, snapshot_folder, columns_needed(plan)))
    held = np.flatnonzero(split_rows(plan, facts).holdout)
    columns = _identifying(problem)
    hashes = _row_hashes(facts.take(held), columns)
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))
    digest = hashlib.sha256(json.dumps(columns).encode())
    digest.update(hashes[order].tobytes())
    times = None if problem.time is None else row_times(plan, facts)[held]
    first, last = ("", "") if times is None else (str(times.min()), str(times.max()))
    return HoldoutRows(
        digest.hexdigest(),
        len(held),
        _clusters(plan, facts.take(held), times),
        first,
        last,
        tuple(columns),
        sketch(hashes[:, 0]),
    )


def _identifying(problem: Problem) -> list[str]:
    """Return the columns that a row is known by, sorted; the target is always among them."""
    unique = problem.fact.unique
    keys = unique[0].columns if unique else list(problem.fact.columns)
    return sorted({*keys, problem.target.column})


def _clusters(plan: Plan, facts: Facts, times: NDArray[np.datetime64] | None) -> int:
    problem = plan.problem
    kind = problem.metrics.cluster
    if kind == "entity":
        return len(np.unique(facts.entity_codes(problem.entity)))
    if kind == "row" or times is None or problem.time is None:
        return len(facts.row)
    if kind == "day":
        return len(np.unique(times.astype("datetime64[D]")))
    seconds = int(problem.time.step.total_seconds())
    return len(np.unique(step_index(times, first_step_time(times, seconds), seconds)))


def _row_hashes(facts: Facts, columns: list[str]) -> NDArray[np.uint64]:
    """Return a hash of 128 bits for each row, as two little-endian numbers; shape (n, 2)."""
    import polars as pl

    parts = []
    for number, file in enumerate(facts.files):
        rows = facts.row[facts.table == number]
        frame = pl.read_parquet(file, columns=columns).select(columns)[rows]
        for first in range(0, frame.height, _BATCH_ROWS):
            texts = _texts(frame.slice(first, _BATCH_ROWS))
            parts.append(b"".join(hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts))
    return np.frombuffer(b"".join(parts), dtype="<u8").reshape(-1, 2)


def _texts(frame: pl.DataFrame) -> list[str]:
    """Return each row as a text that no other row has; a number is the same as integer and as float."""
    import polars as pl

    parts = []
    for series in frame.get_columns():
        if series.dtype == pl.String:
            value = series
        elif series.dtype.is_temporal():
            value = series.cast(pl.Datetime("us")).to_physical().cast(pl.String)
        else:
            numbers = series.cast(pl.Float64) + 0.0  # -0 is 0
            bits = pl.Series(numbers.fill_null(0.0).to_numpy().view(np.int64))
            value = bits.cast(pl.String).set(numbers.is_null(), None)
        parts.append((value.str.len_bytes().cast(pl.String) + ":" + value).fill_null("-").alias(series.name))
    return pl.DataFrame(parts).select(pl.concat_str(pl.all())).to_series().to_list()
