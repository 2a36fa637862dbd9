"""Predict for a file of rows, chunk by chunk: memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from cd4ml.errors import DataError, RowError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from cd4ml.models.data import FloatArray
    from cd4ml.models.runtime import Bundle

__all__ = ["CHUNK_ROWS", "FORMATS", "predict_file"]

CHUNK_ROWS = 20_000
FORMATS = ("csv", "parquet")


def predict_file(
    bundle: Path,
    data: Path,
    out: Path,
    form: str = "",
    chunk_rows: int = CHUNK_ROWS,
    history: Path | None = None,
) -> dict[str, float]:
    """Predict for each row of a file; write its columns as they are, followed by the model's outputs.

    Parameters
    ----------
    data : Path
        CSV, CSV.gz or Parquet, known by its name, with the columns of the bundle's contract; others are
        carried along.
    out : Path
        Appears when all rows are predicted.
    form : str
        "csv" or "parquet"; by the name of `out` when it is "".
    chunk_rows : int
        Rows that are predicted at a time.
    history : Path, optional
        Folder of a history table, in place of the bundle's own history.

    Returns
    -------
    dict of str to float
        The number of rows, and the mean of each output.

    Raises
    ------
    DataError
        If a row breaks the contract: no prediction is written then.
    IntegrityError
        If bundle or history table were altered, or do not belong together.
    UsageError
        If the form is not known, or `out` is `data`.
    """
    from cd4ml.adapters.storage import atomic
    from cd4ml.tables.requests import read_requests

    form = _form(out, form)
    if out.exists() and data.exists() and out.samefile(data):
        raise UsageError(f"expected another file for predictions than for rows; found '{out}' for both")
    if chunk_rows < 1:
        raise UsageError(f"expected chunks of 1 row or more; found {chunk_rows}")
    loaded, rows, sums = _loaded(bundle, history), 0, dict[str, float]()
    table = loaded.problem.fact
    with atomic.stream(out) as file, _Writer(file, form, table.csv.delimiter) as writer:
        for frame in read_requests(data, table, chunk_rows):
            found = _outputs(loaded, frame, rows, data.name)
            if found:
                writer.write(_joined(frame, found, data.name, form))
            for name, values in found.items():
                sums[name] = sums.get(name, 0.0) + float(values.sum())
            rows += frame.height
        if not rows:
            raise DataError(f"{data.name}: expected rows to predict for; found none")
    return {"rows": float(rows), **{f"mean_{name}": total / rows for name, total in sums.items()}}


def _loaded(bundle: Path, history: Path | None) -> Bundle:
    from cd4ml.models.history import load_history
    from cd4ml.models.runtime import Bundle

    found = Bundle.load(bundle)
    return found if history is None else load_history(history, found)


def _form(out: Path, form: str) -> str:
    found = form or out.suffix.removeprefix(".").lower()
    if found not in FORMATS:
        raise UsageError(f"expected predictions in a .csv or .parquet file; found '{form or out.name}'")
    return found


def _outputs(bundle: Bundle, frame: pl.DataFrame, first: int, name: str) -> dict[str, FloatArray]:
    """Return the outputs for the rows of a frame, of which the first has the number `first`.

    Of a frame without rows only the columns are checked.
    """
    from cd4ml.models.rows import columns_from_lists
    from cd4ml.tables.requests import sent_values

    optional = {field: bool(about["nullable"]) for field, about in bundle.inputs.items()}
    try:
        lists = sent_values(frame, bundle.problem.fact, optional)
        if not frame.height:
            return {}
        # The contract's limit of rows is for one request.
        contract = {**bundle.contract, "max_rows": frame.height}
        return bundle.outputs(columns_from_lists(contract, lists, frame.height))
    except RowError as error:
        told = str(error)
        if error.row is not None:
            told = f"row {first + error.row}: {told.removeprefix(f'row {error.row}: ')}"
        raise DataError(f"{name}: {told}. Nothing was written") from None
    except DataError as error:
        raise DataError(f"{name}: {error}. Nothing was written") from None


def _joined(frame: pl.DataFrame, found: Mapping[str, FloatArray], name: str, form: str) -> pl.DataFrame:
    """Return the columns of a frame and the outputs, in types that the form can hold."""
    import polars as pl
    import polars.selectors as cs

    for output in found:
        if output in frame.columns:
            raise DataError(f"{name}: expected no column '{output}', which is to be written; rename it")
    nested = [column for column, dtype in frame.schema.items() if dtype.is_nested()]
    if nested and form == "csv":
        raise UsageError(f"{name}: column '{nested[0]}' holds lists, which CSV cannot; write .parquet")
    # the categories of a chunk are its own; the file has one schema
    frame = frame.with_columns(cs.by_dtype(pl.Categorical, pl.Enum).cast(pl.String))
    whole = {output: pl.Int64 for output in found if output == "decision"}
    return frame.with_columns(
        pl.Series(output, values).cast(whole.get(output, pl.Float64)) for output, values in found.items()
    )


class _Writer:
    """Frames of one schema to a file of CSV or Parquet."""

    def __init__(self, file: BinaryIO, form: str, delimiter: str) -> None:
        self._file, self._form, self._delimiter = file, form, delimiter
        self._parquet: Any = None
        self._begun = False

    def __enter__(self) -> _Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._parquet is not None:
            self._parquet.close()

    def write(self, frame: pl.DataFrame) -> None:
        """Add rows."""
        if self._form == "csv":
            frame.write_csv(self._file, include_header=not self._begun, separator=self._delimiter)
        else:
            self._write_parquet(frame)
        self._begun = True

    def _write_parquet(self, frame: pl.DataFrame) -> None:
        import polars as pl
        import pyarrow.parquet as pq

        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(self._file, table.schema, compression="zstd")
        self._parquet.write_table(table)
