"""Splits into training, validation folds and holdout, over integer time steps, entity codes or rows.

Every row is in exactly one of `train`, `holdout` and `unused`; `train` holds the validation folds.

References
----------
.. [1] Roberts et al., 2017, Cross-validation strategies for data with temporal, spatial, hierarchical, or
   phylogenetic structure, Ecography 40.
.. [2] Lopez de Prado, 2018, Advances in Financial Machine Learning, chapter 7 (purging and embargo).
.. [3] scikit-learn issue 19072: TimeSeriesSplit counts rows, and knows neither panel nor embargo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cd4ml.domain.hashing import uniform_hash
from cd4ml.errors import DataError, UsageError

__all__ = ["Fold", "Split", "by_entity", "by_row", "by_time", "given"]

Mask = npt.NDArray[np.bool_]
Range = tuple[int, int]

SINGLE_FOLD_PARTS = 5  # one fold that is not by time validates on a fifth


@dataclass(frozen=True)
class Fold:
    """Masks of shape (n,); ranges are the first and last step, None where the split is not by time."""

    train: Mask
    validation: Mask
    train_range: Range | None = None
    valid_range: Range | None = None


@dataclass(frozen=True)
class Split:
    """Masks of shape (n,) of which exactly one is True in each row.

    Attributes
    ----------
    folds : tuple of Fold
        Each within `train`.
    train : array
        All that a final model may learn from.
    holdout : array
        What only the last scores may see.
    unused : array
        Rows between the two, left out so that no training label reaches into the holdout; counted.
    """

    folds: tuple[Fold, ...]
    train: Mask
    holdout: Mask
    unused: Mask

    def describe(self) -> dict[str, Any]:
        """Return the counts and ranges, ready for JSON."""
        return {
            "rows": int(self.train.size),
            "train": int(self.train.sum()),
            "holdout": int(self.holdout.sum()),
            "unused": int(self.unused.sum()),
            "folds": [
                {
                    "train": int(fold.train.sum()),
                    "validation": int(fold.validation.sum()),
                    "train_range": None if fold.train_range is None else list(fold.train_range),
                    "valid_range": None if fold.valid_range is None else list(fold.valid_range),
                }
                for fold in self.folds
            ],
        }


def by_time(
    steps: npt.ArrayLike,
    holdout_steps: int,
    fold_count: int,
    fold_steps: int | None = None,
    gap_steps: int = 0,
    embargo_steps: int = 0,
) -> Split:
    """Split by time: the last steps are held out, folds are windows before them, training is all before a
    window.

    Working back from the last step: holdout, gap, last fold, embargo, last fold but one, ..., first fold,
    gap, at least one step to train on. Windows count calendar steps, whether or not they have rows.

    Parameters
    ----------
    steps : integer array of shape (n,)
        Time step of each row, e.g. the day; in any order, with repeats (a panel) and holes.
    holdout_steps : int
        Length of the holdout.
    fold_count : int
        Number of validation windows; training expands from fold to fold.
    fold_steps : int, optional
        Length of a window; None takes the holdout's, or what the data allow where that is less.
    gap_steps : int
        Steps left out between training and what it is judged on: with a forecast horizon of h steps, h - 1
        keep every training label before the forecast's origin. Before the holdout they are `unused`.
    embargo_steps : int
        Steps left between one validation window and the next, so that windows do not share a shock. They are
        trained on by later folds, which come after them.

    Raises
    ------
    DataError
        If the steps do not suffice or a part would have no rows; the message says what was found and needed.
    UsageError
        If a length is negative or the holdout has none.
    """
    found = _integers("steps", steps)
    _lengths(holdout_steps, fold_count, fold_steps, gap_steps, embargo_steps)
    first, last = int(found.min()), int(found.max())
    holdout_start = last - holdout_steps + 1
    length = _fold_steps(last - first + 1, holdout_steps, fold_count, fold_steps, gap_steps, embargo_steps)
    train = found < holdout_start - gap_steps
    holdout = found >= holdout_start
    folds = []
    for back in range(fold_count, 0, -1):
        start = holdout_start - gap_steps - back * length - (back - 1) * embargo_steps
        validation = (found >= start) & (found < start + length)
        fold_train = found < start - gap_steps
        folds.append(
            Fold(fold_train, validation, (first, start - gap_steps - 1), (start, start + length - 1))
        )
    return _checked(Split(tuple(folds), train, holdout, ~(train | holdout)))


def _lengths(holdout: int, folds: int, fold_steps: int | None, gap: int, embargo: int) -> None:
    least = (
        ("holdout_steps", holdout, 1),
        ("fold_count", folds, 0),
        ("gap_steps", gap, 0),
        ("embargo_steps", embargo, 0),
    )
    for name, value, low in (*least, ("fold_steps", 1 if fold_steps is None else fold_steps, 1)):
        if value < low:
            raise UsageError(f"{name} must be at least {low}; found {value}")


def _fold_steps(found: int, holdout: int, folds: int, wanted: int | None, gap: int, embargo: int) -> int:
    """Return the length of a fold, or raise DataError where the steps do not suffice."""
    fixed = holdout + gap + (gap + (folds - 1) * embargo if folds else 0)
    # By default as long as the holdout, or an equal share with the first training window.
    length = wanted or max(1, min(holdout, (found - fixed) // (folds + 1)))
    need = fixed + folds * length + 1
    if found < need:
        parts = f"holdout {holdout}"
        parts += f" + {folds} folds of {length}" if folds else ""
        parts += f" + gaps of {gap}" if gap else ""
        parts += f" + embargoes of {embargo}" if embargo and folds > 1 else ""
        steps = "step" if found == 1 else "steps"
        raise DataError(
            f"the data cover {found} {steps}; {parts} need at least {need}: "
            "bring more data or shorten the split"
        )
    return length


def by_entity(entity_codes: npt.ArrayLike, holdout_fraction: float, fold_count: int, seed: int) -> Split:
    """Split by entity: all rows of a store, a person, a machine are in one part.

    An entity is held out if the hash of its code and the seed says so, whatever other entities there are:
    as data grow, none moves from training to holdout. The share of entities held out is therefore near the
    fraction, not equal to it; at least one is. Folds have equal numbers of entities; a lone one has a fifth.

    Raises
    ------
    DataError
        If there are fewer entities than parts.
    """
    codes = _integers("entity_codes", entity_codes)
    entities, inverse = np.unique(codes, return_inverse=True)
    held = _hold(entities, holdout_fraction, seed)
    fold_of = _deal(entities, held, fold_count, seed, "entities")
    return _from_folds(held[inverse], fold_of[inverse], fold_count)


def by_row(n: int, holdout_fraction: float, fold_count: int, seed: int) -> Split:
    """Split by row number, as if at random; rows appended later do not move those before them."""
    if n < 1:
        raise DataError("there are no rows to split; look at the sources and the filters")
    rows = np.arange(n)
    held = _hold(rows, holdout_fraction, seed)
    return _from_folds(held, _deal(rows, held, fold_count, seed, "rows"), fold_count)


def given(holdout_mask: npt.ArrayLike, fold_count: int, seed: int) -> Split:
    """Take a holdout that came as a table of its own; folds are by row over the rest."""
    held = np.asarray(holdout_mask, dtype=bool)
    if held.ndim != 1 or not held.any() or held.all():
        raise DataError(
            f"a given holdout needs rows inside and outside; found {int(held.sum())} of {held.size} held out"
        )
    return _from_folds(held, _deal(np.arange(held.size), held, fold_count, seed, "rows"), fold_count)


def _hold(codes: npt.NDArray[np.int64], fraction: float, seed: int) -> Mask:
    """Return which codes are held out: those whose hash is below the fraction, and at least one."""
    if not 0 < fraction < 1:
        raise UsageError(f"holdout_fraction must be between 0 and 1; found {fraction}")
    place = uniform_hash(codes, seed)
    held = place < fraction
    if not held.any():
        held[np.argmin(place)] = True
    return held


def _deal(
    codes: npt.NDArray[np.int64], held: Mask, fold_count: int, seed: int, what: str
) -> npt.NDArray[np.int64]:
    """Deal the codes that are not held out into folds; held ones get -1."""
    if fold_count < 0:
        raise UsageError(f"fold_count must be at least 0; found {fold_count}")
    kept = np.flatnonzero(~held)
    parts = SINGLE_FOLD_PARTS if fold_count == 1 else max(1, fold_count)
    if kept.size < parts:
        raise DataError(
            f"the data have {codes.size} {what}, {int(held.sum())} of them held out; "
            f"{fold_count} folds need at least {parts} more: bring more data or fewer folds"
        )
    fold_of = np.full(codes.size, -1, dtype=np.int64)
    order = np.argsort(uniform_hash(codes[kept], seed + 1), kind="stable")
    fold_of[kept[order]] = np.arange(kept.size) % parts
    return fold_of


def _from_folds(holdout: Mask, fold_of: npt.NDArray[np.int64], fold_count: int) -> Split:
    folds = tuple(Fold(~holdout & (fold_of != k), fold_of == k) for k in range(fold_count))
    return Split(folds, ~holdout, holdout, np.zeros(holdout.size, dtype=bool))


def _checked(split: Split) -> Split:
    """Return the split if every part has rows."""
    parts = [("train", split.train), ("holdout", split.holdout)]
    for number, fold in enumerate(split.folds, start=1):
        parts += [(f"train of fold {number}", fold.train), (f"validation of fold {number}", fold.validation)]
    empty = [name for name, mask in parts if not mask.any()]
    if empty:
        raise DataError(
            f"no rows in {', '.join(empty)}: the steps have holes as long; use longer windows or fewer folds"
        )
    return split


def _integers(name: str, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    found = np.asarray(values)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise UsageError(f"{name} must be integers, one a row; found {found.dtype} of shape {found.shape}")
    if not found.size:
        raise DataError("there are no rows to split; look at the sources and the filters")
    return found.astype(np.int64)
