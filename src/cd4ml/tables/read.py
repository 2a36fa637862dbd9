"""Sources as a stream of text or typed frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cd4ml.errors import SourceError
from cd4ml.tables import database, text

if TYPE_CHECKING:
    import polars as pl

    from cd4ml.problem import Table
    from cd4ml.tables.sources import Source

__all__ = ["Batch", "read_batches"]

_PARQUET_ROWS = 1 << 20


@dataclass(frozen=True)
class Batch:
    """Some rows of a source, in its order.

    Parameters
    ----------
    frame : DataFrame
        The rows that have a value for each column; of text, or typed where the source is.
    source : str
        Which source it is from.
    rows : int
        All rows, ragged ones too.
    ragged : list of (int, list of str)
        Position among all rows of the batch, counted from 0, and the fields found.
    hint : str
        What may be wrong with the whole source.
    """

    frame: pl.DataFrame
    source: str
    rows: int
    ragged: list[tuple[int, list[str]]] = field(default_factory=list)
    hint: str = ""


def read_batches(table: Table, sources: Sequence[Source], data: str) -> Iterator[Batch]:
    """Yield the rows of all sources of a table; each source yields at least one batch, perhaps without rows.

    Raises
    ------
    SourceError
        If a source is not what its name promises.
    ServiceError
        If a database cannot be reached.
    """
    for source in sources:
        if source.path is None:
            for frame in database.query_frames(table, data):
                yield Batch(frame, source.name, frame.height)
        elif source.path.name.endswith(".parquet"):
            yield from _read_parquet(source)
        else:
            yield from _read_text(table, source)


def _read_text(table: Table, source: Source) -> Iterator[Batch]:
    assert source.path is not None
    with text.open_text(source.path, source.name) as file:
        header = text.read_header(file, table, source.name)
        hint = text.delimiter_hint(header, table.csv)
        yield Batch(text.empty_frame(header), source.name, 0, hint=hint)
        for frame, ragged, rows in text.read_blocks(file, header, table.csv, source.name):
            yield Batch(frame, source.name, rows, ragged, hint)


def _read_parquet(source: Source) -> Iterator[Batch]:
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source.path) as file:
            yield Batch(pl.DataFrame(pl.from_arrow(file.schema_arrow.empty_table())), source.name, 0)
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                frame = pl.DataFrame(pl.from_arrow(batch))
                yield Batch(frame, source.name, frame.height)
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(
            f"{source.name}: expected a whole Parquet file; found damage ({_first_line(error)})."
            " Copy it again"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
