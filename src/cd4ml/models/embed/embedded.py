"""A bundle inside of an application: verified on first use, predicts for data frames and rows."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cd4ml.errors import IntegrityError, RowError
from cd4ml.models.embed.frames import Rows, field_lists
from cd4ml.models.form_parity import FormParity, compare_form, judged_outputs
from cd4ml.models.rows import columns_from_lists, columns_from_rows
from cd4ml.models.runtime import Bundle, holdout_rows

__all__ = ["Embedded"]

FloatArray = npt.NDArray[np.float64]
_CHUNK_ROWS = 20_000
"""Rows that are worked on at a time: memory beyond the rows themselves does not grow with their number."""


class Embedded:
    """A model in an application; one object may be used by many threads.

    Parameters
    ----------
    folder : Path
        The bundle.
    bundle_id : str
        Which bundle it must be: one with another manifest is refused.
    version : str
        What the application calls it.
    """

    def __init__(self, folder: Path, bundle_id: str, version: str) -> None:
        self.folder = folder
        self.bundle_id = bundle_id
        self.version = version
        self._lock = threading.Lock()
        self._bundle: Bundle | None = None

    def load(self) -> Bundle:
        """Return the bundle; the first call verifies every file and reads them.

        Raises
        ------
        IntegrityError
            If a file is not the one that was packed; it is named.
        """
        with self._lock:
            if self._bundle is None:
                found = Bundle.load(self.folder)
                if found.id != self.bundle_id:
                    raise IntegrityError(
                        f"expected bundle {self.bundle_id[:12]}; found {found.id[:12]} in '{self.folder}'."
                        " Install the package again"
                    )
                self._bundle = found
            return self._bundle

    def contract(self) -> dict[str, Any]:
        """Return the contract: what a row has (`inputs`, JSON Schema) and what comes back."""
        found: dict[str, Any] = copy.deepcopy(dict(self.load().contract))
        return found

    def predict(self, rows: Rows) -> FloatArray:
        """Return one prediction a row, float64 of shape (n,); see `outputs`."""
        return self.outputs(rows)["prediction"]

    def outputs(self, rows: Rows) -> dict[str, FloatArray]:
        """Return all outputs: `prediction`, and `quantile` and `decision` where the model has them.

        Parameters
        ----------
        rows : data frame, mapping of columns, or list of rows
            Columns of a frame that the contract does not know are left out; a field of a single row that it
            does not know is refused. NaN, NaT and NA are null.

        Raises
        ------
        RowError
            If a row breaks the contract: it names row, field, what was found and what is allowed.
        DataError
            If `rows` is of another form, or empty.
        """
        bundle = self.load()
        if isinstance(rows, Sequence) and not isinstance(rows, str | bytes):
            total, lists = len(rows), None
        else:
            lists, total = field_lists(rows, bundle.inputs)
        parts = []
        for start in range(0, max(total, 1), _CHUNK_ROWS):
            stop = min(total, start + _CHUNK_ROWS)
            # the contract's limit of rows is for one request
            contract = {**bundle.contract, "max_rows": max(1, stop - start)}
            try:
                if lists is None:
                    columns = columns_from_rows(contract, rows[start:stop])
                else:
                    part = {name: values[start:stop] for name, values in lists.items()}
                    columns = columns_from_lists(contract, part, stop - start)
            except RowError as error:
                raise _renumbered(error, start) from None
            parts.append(bundle.outputs(columns))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def compare(self) -> FormParity:
        """Predict the holdout rows that came along, and return how far that is from what was judged."""
        self.load()
        found = self.outputs(holdout_rows(self.folder))
        return compare_form("embedded", judged_outputs(self.folder), found)

    def verify(self) -> FormParity:
        """Return what `compare` found.

        Raises
        ------
        GateRejected
            If the predictions are not those that were judged, e.g. under another version of ONNX Runtime.
        """
        return self.compare().require()


def _renumbered(error: RowError, start: int) -> RowError:
    if error.row is None or not start:
        return error
    text = f"row {start + error.row}: {str(error).removeprefix(f'row {error.row}: ')}"
    return RowError(text, error.field, error.found, error.allowed, start + error.row)
