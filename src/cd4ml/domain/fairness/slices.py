"""Slices: the groups of each sensitive column and of their intersections, small cells pooled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cd4ml.domain.bootstrap import FloatArray, IntArray
from cd4ml.errors import UsageError

__all__ = ["Categories", "SliceColumn", "Slices", "build_slices"]

UNKNOWN = "unknown"
"""Name of the rows whose group nobody noted: they are checked as a group too."""


class Categories(Protocol):
    """A column as codes (n,) into `categories`; -1 is null. `features.columns.CategoryArray` is one."""

    @property
    def codes(self) -> npt.NDArray[np.int32]:
        """Position in `categories` of each row."""

    @property
    def categories(self) -> tuple[str, ...]:
        """The groups' names."""


@dataclass(frozen=True)
class SliceColumn:
    """The slices of one column or intersection.

    Attributes
    ----------
    column : str
        E.g. "sex" or "sex x race".
    parts : tuple of str
        The columns that are crossed.
    codes : array of shape (n,)
        Cell of each row, from 0; the cells part the rows, every row is in one.
    names : tuple of str
        The slices: those of the cells, then, for a single column with several rare groups, these together.
    members : tuple of tuples of int
        The cells of each slice.
    """

    column: str
    parts: tuple[str, ...]
    codes: IntArray
    names: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]

    @property
    def cells(self) -> int:
        """The number of cells; each is the slice of the same position."""
        return sum(len(cells) == 1 for cells in self.members)

    def membership(self) -> FloatArray:
        """Return 1 where a cell is in a slice, of shape (cells, slices)."""
        found = np.zeros((self.cells, len(self.names)))
        for number, cells in enumerate(self.members):
            found[list(cells), number] = 1.0
        return found


@dataclass(frozen=True)
class Slices:
    """All columns and intersections whose slices are checked, each over the same rows."""

    columns: tuple[SliceColumn, ...]

    def __iter__(self) -> Iterator[SliceColumn]:
        return iter(self.columns)

    def __len__(self) -> int:
        return sum(len(column.names) for column in self.columns)


def build_slices(columns: Mapping[str, Categories], depth: int = 2, min_rows: int = 200) -> Slices:
    """Return the slices of each column and of each intersection of up to `depth` columns.

    Groups without rows are no slices. A single column keeps each of its groups, however rare, so that none is
    out of sight, and several rare ones also stand together as "pooled rare (2 cells)". An intersection has so
    many rare cells that they stand together alone; one rare cell keeps its name. Nulls are the group
    "unknown".

    Parameters
    ----------
    columns : mapping of str to Categories
        Column of n rows by name.
    depth : int
        How many columns are crossed at most; 1 means none.
    min_rows : int
        A cell with fewer rows is rare.

    Raises
    ------
    UsageError
        If columns differ in length.
    """
    lengths = {name: len(column.codes) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise UsageError(f"columns of slices must have the same rows; found {lengths}")
    singles = {name: _single(name, column, min_rows) for name, column in columns.items()}
    crossed = [
        _crossed([singles[name] for name in names], min_rows)
        for size in range(2, depth + 1)
        for names in combinations(columns, size)
    ]
    return Slices((*singles.values(), *crossed))


def _single(name: str, column: Categories, min_rows: int) -> SliceColumn:
    raw = np.asarray(column.codes, dtype=np.int64)
    raw = np.where(raw < 0, len(column.categories), raw)
    present, codes, counts = np.unique(raw, return_inverse=True, return_counts=True)
    known = (*column.categories, UNKNOWN)
    names = tuple(known[code] for code in present)
    members: tuple[tuple[int, ...], ...] = tuple((cell,) for cell in range(len(names)))
    rare = tuple(int(cell) for cell in np.flatnonzero(counts < min_rows))
    if len(rare) > 1:
        names, members = (*names, _pooled(len(rare))), (*members, rare)
    return SliceColumn(name, (name,), codes.reshape(-1), names, members)


def _crossed(parts: list[SliceColumn], min_rows: int) -> SliceColumn:
    """Return the intersection, its rare cells made one."""
    key = parts[0].codes
    for part in parts[1:]:
        key = key * part.cells + part.codes
    present, codes, counts = np.unique(key, return_inverse=True, return_counts=True)
    codes, names = codes.reshape(-1), _names(present, parts)
    rare = np.flatnonzero(counts < min_rows)
    if rare.size > 1:
        kept = np.flatnonzero(counts >= min_rows)
        position = np.full(len(present), kept.size)
        position[kept] = np.arange(kept.size)
        codes, names = position[codes], [*(names[cell] for cell in kept), _pooled(rare.size)]
    members = tuple((cell,) for cell in range(len(names)))
    columns = tuple(part.column for part in parts)
    return SliceColumn(" x ".join(columns), columns, codes, tuple(names), members)


def _names(cells: IntArray, parts: list[SliceColumn]) -> list[str]:
    positions = np.unravel_index(cells, [part.cells for part in parts])
    return [
        " x ".join(part.names[int(at[cell])] for part, at in zip(parts, positions, strict=True))
        for cell in range(len(cells))
    ]


def _pooled(count: int) -> str:
    return f"pooled rare ({count} cells)"
