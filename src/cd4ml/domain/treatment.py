"""What is done to a model's predictions by group: thresholds, and recalibration.

A row's group is told by its values in a few columns, the same way in training and in serving. A row whose
values are in no group by name (a rare combination, a value that training did not see, no value at all) is in
the last one, "all others". So every row is treated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, Protocol, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from cd4ml.errors import DataError, UsageError

__all__ = [
    "COMMON_THRESHOLD",
    "OTHERS",
    "Coded",
    "Curve",
    "Groups",
    "Kind",
    "Scale",
    "Treatment",
    "decide",
    "from_scale",
    "to_scale",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Kind = Literal["reweighing", "group_thresholds", "bounded_group_loss", "recalibration"]
Scale = Literal["identity", "log1p", "logit"]
Cell = tuple[str | None, ...]
T = TypeVar("T")

COMMON_THRESHOLD = 0.5
"""The probability from which a row is called positive where no treatment says otherwise."""
OTHERS = "all others"
"""Name of the last group."""
_CERTAIN = 1e-6  # probabilities nearer to 0 or 1 have this logit


class Coded(Protocol):
    """Texts as numbers; `cd4ml.features.columns.CategoryArray` is one."""

    @property
    def codes(self) -> npt.NDArray[np.int32]:
        """Position in `categories`, of shape (n,); -1 is null."""

    @property
    def categories(self) -> tuple[str, ...]:
        """The texts."""


@dataclass(frozen=True)
class Groups:
    """Groups of rows by their values in some columns.

    Attributes
    ----------
    columns : tuple of str
    cells : tuple of tuple of (str or None)
        One value a column for each group by name, e.g. ("Female", "Black"); None is any value. A row belongs
        to the group with the most values by name, the first of several. Group i is `cells[i]`; the group
        `len(cells)` is that of all other rows.
    """

    columns: tuple[str, ...]
    cells: tuple[Cell, ...]

    def __post_init__(self) -> None:
        """Refuse cells that do not fit the columns, or are there twice."""
        if not self.columns:
            raise UsageError("groups need at least one column; found none")
        if any(len(cell) != len(self.columns) for cell in self.cells):
            raise UsageError(f"each group needs one value of each of {', '.join(self.columns)}")
        if len(set(self.cells)) != len(self.cells):
            raise UsageError("a group is there twice; each needs its own values")

    @property
    def count(self) -> int:
        """How many groups there are, the last one included."""
        return len(self.cells) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """E.g. ("Female x Black", ..., "any sex x Other", "all others")."""
        named = ([text or f"any {column}" for column, text in self._pairs(cell)] for cell in self.cells)
        return (*(" x ".join(parts) for parts in named), OTHERS)

    def _pairs(self, cell: Cell) -> list[tuple[str, str | None]]:
        return list(zip(self.columns, cell, strict=True))

    @property
    def label(self) -> str:
        """E.g. "sex x race"."""
        return " x ".join(self.columns)

    def of(self, columns: Mapping[str, Coded]) -> IntArray:
        """Return the group of each row, int64 of shape (n,)."""
        coded = [columns[name] for name in self.columns]
        known = [sorted({cell[index] or "" for cell in self.cells}) for index in range(len(coded))]
        place = []
        for column, texts in zip(coded, known, strict=True):
            position = {text: number for number, text in enumerate(texts)}
            # The last entry is for null, whose code is -1; an unknown text shares its place.
            table = [*(position.get(text, len(texts)) for text in column.categories), len(texts)]
            place.append(np.array(table, dtype=np.int64)[column.codes])
        group = np.full([len(texts) + 1 for texts in known], len(self.cells), dtype=np.int64)
        named = [sum(text is not None for text in cell) for cell in self.cells]
        for number in sorted(range(len(self.cells)), key=lambda n: (named[n], -n)):
            cell = zip(self.cells[number], known, strict=True)
            group[tuple(slice(None) if text is None else texts.index(text) for text, texts in cell)] = number
        return np.asarray(group[tuple(place)])

    @classmethod
    def found(cls, columns: Mapping[str, Coded], rows: npt.NDArray[Any], min_rows: int) -> Groups:
        """Return groups that have at least `min_rows` of the given rows each, but for "all others".

        Rows of a rare combination are joined over one column, that of the fewest values first: where no
        "Female x Other" is large enough, "any sex x Other" may be. What is still rare is in "all others".

        Parameters
        ----------
        columns : mapping
            In the order in which they are crossed.
        rows : integer array
            The rows that are counted, e.g. those of training.
        """
        codes = np.column_stack([np.asarray(column.codes)[rows] for column in columns.values()])
        texts = [column.categories for column in columns.values()]
        cells: list[Cell] = []
        for named in _subsets([len(categories) for categories in texts]):
            if not len(codes):
                break
            values, member, counts = np.unique(
                codes[:, named], axis=0, return_inverse=True, return_counts=True
            )
            kept = (counts >= min_rows) & (values >= 0).all(axis=1)
            made = []
            for value in values[kept]:
                cell: list[str | None] = [None] * len(texts)
                for index, code in zip(named, value, strict=True):
                    cell[index] = texts[index][code]
                made.append(tuple(cell))
            cells += sorted(made, key=lambda cell: [text or "" for text in cell])
            codes = codes[~kept[member.reshape(-1)]]
        return cls(tuple(columns), tuple(cells))


def _subsets(sizes: Sequence[int]) -> list[list[int]]:
    """Return all columns, then all but one and so on, those with the most combinations of values first."""
    found = [
        list(named) for count in range(len(sizes), 0, -1) for named in combinations(range(len(sizes)), count)
    ]
    return sorted(found, key=lambda named: (-len(named), -int(np.prod([sizes[i] for i in named]))))


def to_scale(values: FloatArray, scale: Scale) -> FloatArray:
    """Return predictions on the scale of a curve; probabilities are first brought within [1e-6, 1 - 1e-6]."""
    if scale == "logit":
        p = np.clip(values, _CERTAIN, 1 - _CERTAIN)
        return np.asarray(np.log(p) - np.log1p(-p))
    return np.log1p(np.maximum(values, 0.0)) if scale == "log1p" else values


def from_scale(values: FloatArray, scale: Scale) -> FloatArray:
    """Return what `to_scale` turned, as it was."""
    if scale == "logit":
        return np.asarray(1 / (1 + np.exp(-values)))
    return np.expm1(values) if scale == "log1p" else values


@dataclass(frozen=True)
class Curve:
    """How a group's predictions are put right.

    Attributes
    ----------
    x, y : tuple of float
        Knots: a prediction of x becomes y, between two knots along a line; x rises, y does not fall. Before
        the first and after the last knot y stays. Empty with an affine curve.
    slope, intercept : float
        Affine: y = intercept + slope x on `scale`. 1 and 0 change nothing.
    """

    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    slope: float = 1.0
    intercept: float = 0.0
    scale: Scale = "identity"

    def __post_init__(self) -> None:
        """Refuse knots that are no rising curve, and slopes that would turn the ranking round."""
        if len(self.x) != len(self.y) or np.any(np.diff(self.x) <= 0) or np.any(np.diff(self.y) < 0):
            raise UsageError("the knots of a curve must be pairs, x rising and y not falling")
        if not (self.slope >= 0 and np.isfinite([self.slope, self.intercept]).all()):
            raise UsageError(f"a curve needs a slope of at least 0; found {self.slope} and {self.intercept}")
        if self.scale not in get_args(Scale):
            raise UsageError(f"a curve's scale is one of {', '.join(get_args(Scale))}; found '{self.scale}'")

    def __call__(self, values: FloatArray) -> FloatArray:
        """Return the predictions put right, of the same shape."""
        if self.x:
            return np.asarray(np.interp(values, self.x, self.y))
        if (self.slope, self.intercept) == (1.0, 0.0):
            return values
        return from_scale(self.intercept + self.slope * to_scale(values, self.scale), self.scale)

    def to_dict(self) -> dict[str, Any]:
        """Return the curve as JSON."""
        if self.x:
            return {"kind": "isotonic", "x": list(self.x), "y": list(self.y)}
        return {"kind": "affine", "slope": self.slope, "intercept": self.intercept, "scale": self.scale}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Curve:
        """Return the curve that `to_dict` wrote."""
        if value["kind"] == "isotonic":
            return cls(x=tuple(map(float, value["x"])), y=tuple(map(float, value["y"])))
        return cls(slope=float(value["slope"]), intercept=float(value["intercept"]), scale=value["scale"])


def decide(predictions: FloatArray, thresholds: FloatArray | float = COMMON_THRESHOLD) -> FloatArray:
    """Return 1 where a probability reaches its threshold, else 0; float64 of shape (n,)."""
    return np.asarray(np.asarray(predictions) >= thresholds, dtype=np.float64)


@dataclass(frozen=True)
class Treatment:
    """What was done against differences between groups, and is done to every prediction.

    Attributes
    ----------
    kind : str
        `reweighing` and `bounded_group_loss` happened while fitting: nothing is done to predictions.
    groups : Groups
    thresholds : tuple of float, optional
        Probability from which a row of each group is called positive; values above 1 call none.
    curves : tuple of Curve, optional
        Of each group.
    fit_weights : tuple of tuple of float, optional
        What the weight of a row was multiplied with while fitting: for each group one number, or one for
        label 0 and one for label 1.
    minimum : float, optional
        Recalibrated predictions below are raised to this.
    """

    kind: Kind
    groups: Groups
    thresholds: tuple[float, ...] | None = None
    curves: tuple[Curve, ...] | None = None
    fit_weights: tuple[tuple[float, ...], ...] | None = None
    minimum: float | None = None

    def __post_init__(self) -> None:
        """Refuse a treatment that does not say what to do with each group."""
        if self.kind not in get_args(Kind):
            raise UsageError(f"a treatment is one of {', '.join(get_args(Kind))}; found '{self.kind}'")
        for name in ("thresholds", "curves", "fit_weights"):
            given = getattr(self, name)
            if given is not None and len(given) != self.groups.count:
                raise UsageError(
                    f"a treatment of {self.groups.count} groups needs as many {name}; found {len(given)}"
                )

    @property
    def needs_groups(self) -> bool:
        """Whether a prediction depends on the row's group, so that callers must send its columns."""
        return self.thresholds is not None or self.curves is not None

    @property
    def label(self) -> str:
        """E.g. "group thresholds by sex x race"."""
        return f"{self.kind.replace('_', ' ')} by {self.groups.label}"

    def recalibrate(self, predictions: FloatArray, groups: IntArray) -> FloatArray:
        """Return the predictions put right by each row's group, of shape (n,); the same without curves."""
        if self.curves is None:
            return predictions
        result = np.array(predictions, dtype=np.float64)
        for number, curve in enumerate(self.curves):
            inside = groups == number
            result[inside] = curve(result[inside])
        return result if self.minimum is None else np.maximum(result, self.minimum)

    def decide(self, predictions: FloatArray, groups: IntArray) -> FloatArray:
        """Return 0 or 1 for each row; `predictions` are recalibrated ones, of shape (n,)."""
        if self.thresholds is None:
            return decide(predictions)
        return decide(predictions, np.asarray(self.thresholds)[groups])

    def factors(self, groups: IntArray, y: FloatArray) -> FloatArray:
        """Return what the weights of rows are multiplied with while fitting, of shape (n,)."""
        if self.fit_weights is None:
            return np.ones(len(groups))
        table = np.asarray(self.fit_weights, dtype=np.float64)
        if table.shape[1] == 1:
            return np.asarray(table[groups, 0])
        return np.asarray(table[groups, np.asarray(y).astype(np.int64)])

    def to_dict(self) -> dict[str, Any]:
        """Return treatment.json."""
        return {
            "kind": self.kind,
            "columns": list(self.groups.columns),
            "groups": [list(cell) for cell in self.groups.cells],
            "thresholds": _listed(self.thresholds),
            "curves": None if self.curves is None else [curve.to_dict() for curve in self.curves],
            "fit_weights": None if self.fit_weights is None else [list(row) for row in self.fit_weights],
            "minimum": self.minimum,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Treatment:
        """Return the treatment that `to_dict` wrote.

        Raises
        ------
        DataError
            If it is none.
        """
        try:
            curves, weights = value["curves"], value["fit_weights"]
            return cls(
                value["kind"],
                Groups(tuple(value["columns"]), tuple(tuple(cell) for cell in value["groups"])),
                None if value["thresholds"] is None else tuple(map(float, value["thresholds"])),
                None if curves is None else tuple(Curve.from_dict(curve) for curve in curves),
                None if weights is None else tuple(tuple(map(float, row)) for row in weights),
                value["minimum"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"expected a treatment; found one that cannot be read: {error}") from error


def _listed(values: Sequence[T] | None) -> list[T] | None:
    return None if values is None else list(values)
