"""Tables of a snapshot as Parquet, written batch by batch."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cd4ml.tables.content import ContentDigest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

__all__ = ["TableContent", "TableWriter", "read_frames"]

_BATCH_ROWS = 1 << 20


@dataclass(frozen=True)
class TableContent:
    """Where a written table is, how many rows it has, and the hash of its content."""

    path: Path
    rows: int
    digest: str


class TableWriter:
    """Write frames of one schema to a Parquet file, hashing their content on the way.

    Writing and hashing run beside the caller, one batch behind at most: memory holds two batches.
    """

    def __init__(self, path: Path, schema: dict[str, Any]) -> None:
        import polars as pl
        import pyarrow.parquet as pq

        self._path, self._digest = path, ContentDigest()
        self._digest.update(pl.DataFrame(schema=schema))
        path.parent.mkdir(parents=True, exist_ok=True)
        arrow = pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest())
        self._file = pq.ParquetWriter(path, arrow.schema, compression="zstd", compression_level=1)
        self._pool = ThreadPoolExecutor(2)
        self._pending: list[Future[None]] = []

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        self._file.close()

    def write(self, frame: pl.DataFrame) -> None:
        """Add rows; their columns are those of the schema, in its order."""
        self._wait()
        if frame.height:
            self._pending = [
                self._pool.submit(self._digest.update, frame),
                self._pool.submit(self._write, frame),
            ]

    def finish(self) -> TableContent:
        """Wait for what is under way, close the file and say what it holds."""
        self._wait()
        self._file.close()
        return TableContent(self._path, self._digest.rows, self._digest.hexdigest())

    def _wait(self) -> None:
        for future in self._pending:
            future.result()
        self._pending = []

    def _write(self, frame: pl.DataFrame) -> None:
        import polars as pl

        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        self._file.write_table(table, row_group_size=_BATCH_ROWS)


def read_frames(path: Path, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
    """Yield the rows of a Parquet file that we wrote, batch by batch."""
    import polars as pl
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
            yield pl.DataFrame(pl.from_arrow(batch))
