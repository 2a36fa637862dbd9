"""Snapshots: immutable copies of a problem's sources that kept its contract, named by their content."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.adapters.manifest import verify_manifest, write_manifest
from cd4ml.adapters.storage import atomic
from cd4ml.adapters.storage.documents import decode
from cd4ml.errors import ContractError, IntegrityError, NotFoundError, nearest
from cd4ml.tables.anomalies import validation
from cd4ml.tables.comparison import Accepted, changes
from cd4ml.tables.compatibility import contract_of
from cd4ml.tables.contract import CheckedTable, check_tables
from cd4ml.tables.fact_rules import judge_facts
from cd4ml.tables.history import SnapshotHistory, code_version
from cd4ml.tables.profile import profile_tables
from cd4ml.tables.sources import Source, assert_unchanged, fingerprint, locate

if TYPE_CHECKING:
    import polars as pl

    from cd4ml.adapters.storage import Storage
    from cd4ml.problem import Problem

__all__ = ["Snapshot", "open_snapshot", "refuse", "take_snapshot", "validate"]

_SHOWN_REFUSALS = 3


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on this machine.

    Parameters
    ----------
    id : str
        64 hexadecimal digits over problem name, schema, right rows and quarantine.
    path : Path
        Its folder.
    manifest : mapping
    """

    id: str
    path: Path
    manifest: Mapping[str, Any]

    def frame(self, table: str) -> pl.DataFrame:
        """Return the right rows of a table, typed, in the order of the source."""
        import polars as pl

        return pl.read_parquet(self._file(table, ""))

    def quarantine(self, table: str) -> pl.DataFrame:
        """Return the rows of a table that were set aside: `_row` (from 1), `_reason`, the values as text."""
        import polars as pl

        return pl.read_parquet(self._file(table, "quarantine/"))

    def document(self, name: str) -> dict[str, Any]:
        """Return `validation.json` or `profile.json`."""
        return decode((self.path / name).read_bytes(), name)

    def _file(self, table: str, below: str) -> Path:
        if table not in self.manifest["tables"]:
            known = self.manifest["tables"]
            raise NotFoundError(
                f"the snapshot has no table '{table}'; it has {', '.join(known)}{nearest(table, known)}"
            )
        return self.path / f"{below}{table}.parquet"


def open_snapshot(folder: Path) -> Snapshot:
    """Open a snapshot's folder after checking every file against the manifest.

    Raises
    ------
    IntegrityError
        If a file is not what the manifest promises, or there is no manifest.
    """
    manifest = verify_manifest(folder)
    if manifest.get("kind") != "snapshot":
        raise IntegrityError(
            f"expected a snapshot in {folder}; found {manifest.get('kind') or 'a bundle'}. Give its folder"
        )
    return Snapshot(str(manifest["id"]), folder, manifest)


@dataclass(frozen=True)
class _Checked:
    """A problem's sources after the contract."""

    tables: dict[str, CheckedTable]
    profile: dict[str, Any]
    validation: dict[str, Any]
    sources: dict[str, list[Source]]


def _check(problem: Problem, data: str, folder: Path, before: Accepted | None, now: datetime) -> _Checked:
    """Check everything; right rows and quarantine are below `folder` afterwards."""
    with tempfile.TemporaryDirectory(prefix="cd4ml-") as scratch:
        sources = locate(problem, data, Path(scratch))
        tables = check_tables(problem, sources, data, folder, now)
        assert_unchanged(source for found in sources.values() for source in found)
    profile = profile_tables(problem, folder)
    reports = {name: table.report for name, table in tables.items()}
    for anomaly in judge_facts(problem, folder, profile, reports):
        reports[anomaly.table].anomalies.append(anomaly)
    for anomaly in changes(problem, folder, profile, before) if before else ():
        reports[anomaly.table].anomalies.append(anomaly)
    return _Checked(tables, profile, validation(problem.name, reports), sources)


def validate(problem: Problem, data: str, *, now: datetime, before: Accepted | None = None) -> dict[str, Any]:
    """Check sources against the contract and keep nothing; for those who produce the data.

    Parameters
    ----------
    problem : Problem
    data : str
        As `cd4ml.tables.sources.locate`.
    now : datetime
        What `today` and freshness mean.
    before : Accepted, optional
        The last accepted snapshot; without it changes are not judged.

    Returns
    -------
    dict
        The content of validation.json. Its list "refused" is empty when the data would be taken.
    """
    with tempfile.TemporaryDirectory(prefix="cd4ml-") as folder:
        return _check(problem, data, Path(folder), before, now).validation


def refuse(found: Mapping[str, Any]) -> None:
    """Raise ContractError when validation.json, as `found`, has broken rules of severity refuse."""
    refused = found["refused"]
    if refused:
        more = len(refused) - _SHOWN_REFUSALS
        raise ContractError(
            "the data broke the contract: "
            + " | ".join(refused[:_SHOWN_REFUSALS])
            + (f" | and {more} more" if more > 0 else "")
            + ". Mend the data, or the contract in the problem file; `cd4ml data validate` shows all"
        )


def take_snapshot(problem: Problem, data: str, storage: Storage, folder: Path, *, now: datetime) -> Snapshot:
    """Read the sources, check the contract, and keep what is right under the hash of its content.

    Parameters
    ----------
    problem : Problem
    data : str
        A folder, `s3://bucket/prefix` or `https://host/path`.
    storage : Storage
        Where the snapshot is kept, under `snapshots/<id>/`.
    folder : Path
        Where it is written on this machine; replaced when it is there.
    now : datetime
        What `today` and freshness mean, and when the snapshot is said to be taken.

    Returns
    -------
    Snapshot
        The same content has the same id and is stored once.

    Raises
    ------
    SourceError
        If a source cannot be read.
    ContractError
        If a rule of severity `refuse` is broken. Nothing is stored, in either case.
    """
    history = SnapshotHistory(storage)
    parent = history.latest(problem.name)
    before = history.documents(parent) if parent else None
    mark = fingerprint(problem, data)
    with atomic.directory(folder) as writing:
        checked = _check(problem, data, writing, before, now)
        refuse(checked.validation)
        atomic.write_json(writing / "validation.json", checked.validation)
        atomic.write_json(writing / "profile.json", checked.profile)
        identity = _identity(problem, checked)
        if parent == identity:  # taken before: it is not its own parent
            parent = history.manifest(identity)["parent"]
        write_manifest(writing, **_manifest(problem, checked, identity, mark, parent, now))
        history.store(problem.name, identity, writing)
    return open_snapshot(folder)


def _identity(problem: Problem, checked: _Checked) -> str:
    """Return the snapshot's id: a hash over values, types and names; not over time, parent or file format."""
    content = {
        "problem": problem.name,
        "tables": {
            name: {
                "rows": table.content.digest,
                "quarantine": table.quarantine.digest,
                "schema": _schema(problem, name),
            }
            for name, table in checked.tables.items()
        },
    }
    return hashlib.sha256(atomic.dumps(content).encode()).hexdigest()


def _schema(problem: Problem, table: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "type": column.type, "nulls": column.nulls}
        for name, column in problem.tables[table].columns.items()
    ]


def _manifest(
    problem: Problem, checked: _Checked, identity: str, mark: str, parent: str | None, now: datetime
) -> dict[str, Any]:
    return {
        "kind": "snapshot",
        "format": 1,
        "id": identity,
        "problem": problem.name,
        "description": problem.description,
        "owner": problem.owner,
        "created": now.isoformat(timespec="seconds"),
        "parent": parent,
        "code": code_version(),
        "fingerprint": mark,
        "time": _time_range(problem, checked.profile),
        "tables": {name: _table_entry(problem, name, checked) for name in problem.tables},
    }


def _table_entry(problem: Problem, name: str, checked: _Checked) -> dict[str, Any]:
    table, done = problem.tables[name], checked.tables[name]
    contract = contract_of(problem)[name]
    columns = [
        {**entry, "description": table.columns[entry["name"]].description} for entry in contract["columns"]
    ]
    return {
        "description": table.description,
        "owner": table.owner or problem.owner,
        "optional": contract["optional"],
        "rows": done.content.rows,
        "rows_quarantined": done.report.rows_quarantined,
        "digest": done.content.digest,
        "sources": [source.name for source in checked.sources[name]],
        "columns": columns,
        "keys": table.unique[0].columns if table.unique else [],
    }


def _time_range(problem: Problem, profile: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the first and last time of the facts: by the problem's calendar, or by their first date."""
    spans = []
    for name in problem.facts:
        entry = profile["tables"][name]
        if entry["time"]:
            spans.append((entry["time"]["column"], entry["time"]["first"], entry["time"]["last"]))
            continue
        for column, found in entry["columns"].items():
            if found["type"] in ("date", "timestamp") and found["min"] is not None:
                spans.append((column, found["min"], found["max"]))
                break
    if not spans:
        return None
    return {"column": spans[0][0], "first": min(s[1] for s in spans), "last": max(s[2] for s in spans)}
