"""Does a model predict in another form what was judged? The gate of each form in which a bundle is served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cd4ml.errors import DataError, GateRejected

__all__ = ["TOLERANCE", "FormParity", "compare_form", "judged_outputs"]

TOLERANCE = 1e-5
"""How far predictions may be apart, as a fraction of max(1, |expected|)."""


@dataclass(frozen=True)
class FormParity:
    """How far a form is from what was judged.

    Attributes
    ----------
    form : str
        E.g. "embedded".
    rows : int
    largest_difference : float
        Relative to max(1, |judged|), over all outputs; infinite where one has no number and the other has.
    output : str
        The output in which it was found.
    row : int
        The row of the holdout in which it was found.
    """

    form: str
    rows: int
    largest_difference: float
    output: str
    row: int

    @property
    def agrees(self) -> bool:
        """Whether it is within TOLERANCE."""
        return self.largest_difference <= TOLERANCE

    def require(self) -> FormParity:
        """Return itself.

        Raises
        ------
        GateRejected
            If the form predicts something else than was judged.
        """
        if not self.agrees:
            raise GateRejected(
                f"the {self.form} form does not predict what was judged: {self.output} of holdout row"
                f" {self.row} is off by {self.largest_difference:.3g} of max(1, |y|), more than"
                f" {TOLERANCE:g}; nothing was handed out"
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def judged_outputs(folder: Path) -> dict[str, npt.NDArray[np.float64]]:
    """Return the outputs of the holdout rows as a bundle has them, by name, each of shape (n,)."""
    found = {}
    for name in ("prediction", "quantile", "decision"):
        path = folder / "holdout" / f"{name}.npy"
        if path.is_file():
            found[name] = np.load(path, allow_pickle=False).astype(np.float64)
    return found


def compare_form(form: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> FormParity:
    """Compare outputs with judged ones, row by row; extra outputs are not looked at.

    Parameters
    ----------
    expected, found : mapping of str to array of shape (n,)

    Raises
    ------
    DataError
        If nothing is to be compared.
    """
    if not expected or not len(next(iter(expected.values()))):
        raise DataError("parity needs holdout rows; found none")
    worst = FormParity(form, len(next(iter(expected.values()))), -1.0, "", 0)
    for name, judged in expected.items():
        y = np.asarray(judged, dtype=np.float64)
        made = np.asarray(found[name], dtype=np.float64) if name in found else np.empty(0)
        if made.shape != y.shape:
            return FormParity(form, len(y), np.inf, name, 0)
        with np.errstate(invalid="ignore"):
            off = np.abs(made - y) / np.maximum(1.0, np.abs(y))
        off = np.where(np.isnan(off), np.where(np.isnan(y) & np.isnan(made), 0.0, np.inf), off)
        place = int(off.argmax())
        if off[place] > worst.largest_difference:
            worst = FormParity(form, len(y), float(off[place]), name, place)
    return worst
