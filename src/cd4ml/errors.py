"""The exceptions of cd4ml.

Cd4mlError                      exit 1   anything that is ours
├── UsageError (ValueError)     exit 2   the caller asked for something impossible
│   ├── ProblemError                     a problem file is wrong; knows key and line
│   ├── BudgetError                      work does not fit in the row fits or seconds it was given
│   └── NotFoundError                    a name that nobody has; suggests the nearest one
├── GateRejected                exit 3   a gate said no
├── DataError (ValueError)      exit 4   data were refused
│   ├── SourceError                      a source cannot be read as what it should be
│   ├── ContractError                    a snapshot broke a rule whose severity is refuse
│   ├── MetricError                      a metric has no finite value; names the rows
│   ├── RowError                         a row breaks a model's contract; knows row, field, found, allowed
│   └── IntegrityError                   bytes are not what their hash or signature promised
├── RolledBack                  exit 5   a rollout was taken back
├── ServiceError                exit 6   something outside cannot be reached; trying again may help
│   └── ConflictError                    a compare-and-swap was lost to another writer
└── TimedOut                    exit 124 what was waited for has not ended in time; it goes on

A message says what was expected, what was found and what to do, in one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BudgetError",
    "Cd4mlError",
    "ConflictError",
    "ContractError",
    "DataError",
    "GateRejected",
    "IntegrityError",
    "MetricError",
    "NotFoundError",
    "ProblemError",
    "RolledBack",
    "RowError",
    "ServiceError",
    "SourceError",
    "TimedOut",
    "UsageError",
    "nearest",
]


def nearest(word: str, words: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the word most like `word`, or "" when none is alike."""
    found = difflib.get_close_matches(word, sorted(words), n=1, cutoff=0.6)
    return f"; did you mean '{found[0]}'?" if found else ""


class Cd4mlError(Exception):
    """Anything that cd4ml raises on purpose."""

    exit_code = 1


class UsageError(Cd4mlError, ValueError):
    """The caller asked for something impossible."""

    exit_code = 2


class ProblemError(UsageError):
    """A problem file is wrong.

    Parameters
    ----------
    message : str
        What was expected, what was found, what to do.
    path : tuple of (str or int)
        Where in the document, e.g. ("features", 2, "lags").
    line : int, optional
        Line in the file, counted from 1; the loader fills it in.
    """

    def __init__(self, message: str, path: tuple[str | int, ...] = (), line: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.line = line


class BudgetError(UsageError):
    """Work does not fit in the row fits, or the seconds, that it was given."""


class NotFoundError(UsageError):
    """A name that nobody has."""


class GateRejected(Cd4mlError):
    """A gate said no."""

    exit_code = 3


class DataError(Cd4mlError, ValueError):
    """Data were refused."""

    exit_code = 4


class SourceError(DataError):
    """A source cannot be read as what it should be."""


class ContractError(DataError):
    """A snapshot broke a rule whose severity is `refuse`."""


class MetricError(DataError):
    """A metric has no finite value."""


class RowError(DataError):
    """A row breaks a model's contract.

    Parameters
    ----------
    message : str
        What was expected and what was found, in one line.
    field : str
        The field; "" where the row as a whole is wrong, or the number of rows.
    found, allowed : str
        In few words.
    row : int, optional
        Counted from 0.
    """

    def __init__(self, message: str, field: str, found: str, allowed: str, row: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.found = found
        self.allowed = allowed
        self.row = row


class IntegrityError(DataError):
    """Bytes are not what their hash or signature promised."""


class RolledBack(Cd4mlError):
    """A rollout was taken back."""

    exit_code = 5


class ServiceError(Cd4mlError):
    """Something outside cannot be reached; trying again may help."""

    exit_code = 6


class ConflictError(ServiceError):
    """A compare-and-swap was lost to another writer."""


class TimedOut(Cd4mlError):
    """What was waited for has not ended in time; it goes on."""

    exit_code = 124
