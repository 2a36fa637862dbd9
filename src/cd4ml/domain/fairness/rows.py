"""What the bias checks say: one row a comparison, and the report that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from cd4ml.errors import DataError

__all__ = ["BiasReport", "BiasRow", "Family", "RowStatus"]

RowStatus = Literal["pass", "fail", "warn", "insufficient_data", "waived"]
Family = Literal["blocking", "warning"]


@dataclass(frozen=True)
class BiasRow:
    """One slice against other rows, by one measure.

    Attributes
    ----------
    metric, label : str
        Name of the measure, and the reader's words for it.
    stage : str
        "pre": on the target, before training; "post": on predictions.
    column, slice : str
        E.g. "sex x race" and "Female x Black".
    against : str
        "rest": all rows outside of the slice. "reference:NAME": a group of the same column. "champion": the
        same rows, as the champion predicts them. "extremes": the group of the lowest rate to the one of the
        highest.
    compare : str
        What `ratio` is: "rate_ratio", "error_ratio" (1 means equal), "difference" or "distance" (0 does).
    n, clusters : int
        Rows and clusters of the slice.
    effective_clusters : float
        By Kish's formula: as many clusters of equal size would tell as much.
    estimate, reference : float or None
        The measure in the slice and in what it is held against; None where it has no value.
    shrunk : float or None
        The estimate drawn to the mean of its column, the more so the less is known of it (empirical Bayes).
    ratio, low, high : float or None
        What is judged, with its interval.
    adjusted_p : float or None
        Adjusted probability of such a ratio if the true one kept the margin; None where it was not tested.
    margin : float or None
        The limit: least ratio of rates, largest ratio of errors, largest difference or distance. None: the
        row is shown and not judged.
    family : str
        "blocking": may reject a model, after Holm's correction over all such rows. "warning": warns at most,
        after Benjamini and Hochberg's.
    status : str
        "pass": the whole interval keeps the margin. "fail": a blocking row beyond it, and not by chance.
        "warn": beyond it in the warning family, or a blocking row whose interval straddles it.
        "insufficient_data": nothing can be said; it never reads as a pass. "waived": somebody answers for it.
    waived : dict or None
        The waiver that covers the row: by, reason, until.
    reason : str
        One sentence with the numbers.
    """

    metric: str
    label: str
    stage: str
    column: str
    slice: str
    against: str
    compare: str
    n: int
    clusters: int
    effective_clusters: float
    estimate: float | None
    reference: float | None
    shrunk: float | None
    ratio: float | None
    low: float | None
    high: float | None
    adjusted_p: float | None
    margin: float | None
    family: Family
    status: RowStatus
    waived: dict[str, str] | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the row as bias.json has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> BiasRow:
        """Return the row that `to_dict` wrote; DataError names what is missing."""
        missing = [field.name for field in fields(cls) if field.name not in value]
        if missing:
            raise DataError(f"this row of bias.json lacks {', '.join(missing)}; run the bias check again")
        return cls(**{field.name: value[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class BiasReport:
    """All rows of a check, in a fixed order.

    Attributes
    ----------
    rows : tuple of BiasRow
        By stage, column, measure, what is held against, slice.
    summary : dict
        `status`, `blocking`: number of rows by status, of all and of the blocking family; `columns`;
        `informs`: columns that no gate rests on; `waivers`: each with whether it `holds` and was `used`.
    alpha : float
        Family-wise error of all blocking rows together.
    """

    rows: tuple[BiasRow, ...]
    summary: dict[str, Any]
    alpha: float

    @property
    def families(self) -> dict[str, int]:
        """The number of tested rows by family: what p-values are adjusted over."""
        tested = [row.family for row in self.rows if row.adjusted_p is not None]
        return {name: tested.count(name) for name in ("blocking", "warning")}

    def to_dict(self) -> dict[str, Any]:
        """Return the content of bias.json."""
        return {
            "rows": [row.to_dict() for row in self.rows],
            "summary": self.summary,
            "alpha": self.alpha,
            "families": self.families,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> BiasReport:
        """Return the report that `to_dict` wrote."""
        try:
            rows, summary, alpha = value["rows"], value["summary"], value["alpha"]
        except KeyError as error:
            raise DataError(f"this is no bias.json: it lacks {error}; run the bias check again") from error
        return cls(tuple(BiasRow.from_dict(row) for row in rows), dict(summary), float(alpha))
