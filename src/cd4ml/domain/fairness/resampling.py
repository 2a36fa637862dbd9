"""Sums of every slice in every resample, and what the measures make of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from cd4ml.domain.bootstrap import FloatArray, IntArray, Resampling
from cd4ml.domain.fairness.measure import Measure, Sample, Sums, Term
from cd4ml.domain.fairness.slices import SliceColumn

__all__ = ["Replicates", "replicate"]

BLOCK_VALUES = 25_000_000  # resampled sums held at a time: 200 MB


@dataclass(frozen=True)
class Replicates:
    """A measure for every slice of a column, arrays of shape (1 + R, S): the estimate, then R resamples.

    Attributes
    ----------
    measure : Measure
    against : str
        "rest", "reference:NAME" or "champion".
    value, other : array or None
        The measure in the slice and in the rows it is held against; None where a group alone has none.
    contrast : array
        What is judged.
    support : array of shape (S,), and of the rows held against
        About how many rows a rate is a share of: 30 for a true positive rate of 30 positives.
    """

    measure: Measure
    against: str
    value: FloatArray | None
    other: FloatArray | None
    contrast: FloatArray
    support: FloatArray
    other_support: FloatArray


def replicate(
    sample: Sample,
    column: SliceColumn,
    measures: Sequence[Measure],
    design: Resampling,
    reference: int | None = None,
    champion: Sample | None = None,
    block_values: int = BLOCK_VALUES,
) -> Iterator[Replicates]:
    """Yield each measure of each slice against the rest, a reference slice and the champion.

    Measures whose terms have bins are not held against the champion, as bins come from the predictions of one
    model.

    Parameters
    ----------
    reference : int, optional
        Position of the slice that the others are held against; None for no such comparison.
    champion : Sample, optional
        The same rows as the champion predicts them.
    block_values : int
        Resampled sums held at a time; the result is the same.
    """
    chosen = sorted(measures, key=_binned)
    for bins, alike in groupby(chosen, key=_binned):
        group, paired = list(alike), None if bins else champion
        parts = [
            [_compare(measure, block, column, reference) for measure in group]
            for block in _blocks(sample, column, group, design, reference, paired, block_values)
        ]
        for blocks in zip(*parts, strict=True):
            for of_one in zip(*blocks, strict=True):
                yield _joined(of_one)


@dataclass(frozen=True)
class _Block:
    """Sums (1 + R, s, ...) of some slices, of all rows and of the reference (1 + R, 1, ...)."""

    own: Sums
    whole: Sums
    reference: Sums
    champion: Sums | None


def _binned(measure: Measure) -> tuple[str, ...]:
    return tuple(sorted(term.name for term in measure.terms if term.bins is not None))


def _blocks(
    sample: Sample,
    column: SliceColumn,
    measures: Sequence[Measure],
    design: Resampling,
    reference: int | None,
    champion: Sample | None,
    block_values: int,
) -> Iterator[_Block]:
    """Yield the sums of so many slices at a time as fit into memory."""
    terms = list({term.name: term for measure in measures for term in measure.terms}.values())
    count, last = len(column.names), reference or 0
    width = sum(_bin_count(term, sample) for term in terms) * (design.weights.shape[0] + 1)
    step = max(1, block_values // max(1, width))
    for start in range(0, count, step):
        chosen = [*range(start, min(start + step, count)), last]
        found = _sums(terms, sample, column, chosen, design)
        paired = None
        if champion is not None:
            alike = {term.name: term for m in measures if _pairs(m, champion) for term in m.terms}
            held = _sums(list(alike.values()), champion, column, chosen, design) if alike else {}
            paired = {name: sums[:, :-2] for name, sums in held.items()}
        yield _Block(
            {name: sums[:, :-2] for name, sums in found.items()},
            {name: sums[:, -1:] for name, sums in found.items()},
            {name: sums[:, -2:-1] for name, sums in found.items()},
            paired,
        )


def _pairs(measure: Measure, champion: Sample) -> bool:
    """Whether both models can be held against each other: bins of a distance are those of one model."""
    return measure.judged and measure.stage == "post" and measure.pair is None and measure.applies(champion)


def _bin_count(term: Term, sample: Sample) -> int:
    return 1 if term.bins is None else term.bins(sample).count


def _sums(
    terms: Sequence[Term], sample: Sample, column: SliceColumn, chosen: Sequence[int], design: Resampling
) -> dict[str, FloatArray]:
    """Return the sums (1 + R, s + 1, ...) of the chosen slices and, last, of all rows."""
    codes, member = _cells(column, chosen)
    cells = member.shape[0]
    totals, shapes = [], []
    for term in terms:
        bins = None if term.bins is None else term.bins(sample)
        amount = np.asarray(term.amount(sample), dtype=np.float64)
        cell, count = (codes, 1) if bins is None else (codes * bins.count + bins.codes, bins.count)
        of_groups = design.totals(amount, cell, cells * count).reshape(-1, cells, count)
        of_slices = np.einsum("gck,cs->gsk", of_groups, member, optimize=True)
        totals.append(of_slices.reshape(len(of_slices), -1))
        shapes.append((member.shape[1],) if bins is None else (member.shape[1], count))
    stacked = np.concatenate(totals, axis=1)
    found = np.concatenate([stacked.sum(axis=0)[None], design.replicate(stacked)])
    ends = np.cumsum([part.shape[1] for part in totals])
    split = np.split(found, ends[:-1], axis=1)
    return {
        term.name: part.reshape(-1, *shape) for term, part, shape in zip(terms, split, shapes, strict=True)
    }


def _cells(column: SliceColumn, chosen: Sequence[int]) -> tuple[IntArray, FloatArray]:
    """Return the cell of each row among those of the chosen slices (the last is all other cells), and which
    of them each chosen slice, and then the whole, consists of."""
    member = column.membership()[:, list(chosen)]
    used = np.flatnonzero(member.any(axis=1))
    position = np.full(column.cells, used.size)
    position[used] = np.arange(used.size)
    kept = np.concatenate([member[used], np.zeros((1, len(chosen)))])
    return position[column.codes], np.concatenate([kept, np.ones((used.size + 1, 1))], axis=1)


def _compare(measure: Measure, block: _Block, column: SliceColumn, reference: int | None) -> list[Replicates]:
    rest = {name: block.whole[name] - sums for name, sums in block.own.items()}
    found = [_contrast(measure, "rest", block.own, rest)]
    if reference is not None:
        shaped = {
            name: np.broadcast_to(block.reference[name], sums.shape) for name, sums in block.own.items()
        }
        found.append(_contrast(measure, f"reference:{column.names[reference]}", block.own, shaped))
    if block.champion is not None and all(term.name in block.champion for term in measure.terms):
        found.append(_contrast(measure, "champion", block.own, block.champion))
    return found


def _contrast(measure: Measure, against: str, own: Sums, other: Sums) -> Replicates:
    formula = measure.formula
    with np.errstate(divide="ignore", invalid="ignore"):
        contrast = np.asarray(measure.contrast(own, other), dtype=np.float64)
        value = None if formula is None else np.asarray(formula(own), dtype=np.float64)
        held = None if formula is None else np.asarray(formula(other), dtype=np.float64)
        sides = [_support(measure, side) for side in (own, other)]
    return Replicates(measure, against, value, held, contrast, sides[0], sides[1])


def _support(measure: Measure, sums: Sums) -> FloatArray:
    """Return 1 / (largest less smallest change of the measure by one more row), of shape (S,).

    A share a / b of counts goes up by (1 - a / b) / b with one more row of one kind and down by (a / b) / b
    with one of the other: the difference is 1 / b. Infinite where the measure is no formula of plain counts.
    """
    point = {name: values[0] for name, values in sums.items()}
    names = [term.name for term in measure.terms]
    slices = point[names[0]].shape[0]
    counts = measure.tasks == {"classification"} and all(term.bins is None for term in measure.terms)
    if measure.formula is None or not counts:
        return np.full(slices, np.inf)
    step = 1e-4
    here = measure.formula(point)
    moved = np.array([measure.formula(point | {name: point[name] + step}) - here for name in names]) / step
    spread = np.maximum(moved.max(axis=0), 0) - np.minimum(moved.min(axis=0), 0)
    known = np.isfinite(spread)
    inverse = np.divide(1.0, spread, out=np.full(slices, np.inf), where=known & (spread > 0))
    return np.where(known, inverse, 0.0)


def _joined(blocks: Sequence[Replicates]) -> Replicates:
    if len(blocks) == 1:
        return blocks[0]
    first = blocks[0]

    def along(name: str) -> FloatArray | None:
        parts = [getattr(block, name) for block in blocks]
        return None if parts[0] is None else np.concatenate(parts, axis=-1)

    contrast, support, other_support = (along(name) for name in ("contrast", "support", "other_support"))
    assert contrast is not None and support is not None and other_support is not None
    return Replicates(
        first.measure, first.against, along("value"), along("other"), contrast, support, other_support
    )
