"""`cd4ml models history`: what a model looks back at, and how to make it newer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.model_reference import bundle_folder
from cd4ml.cli.table import table, whole
from cd4ml.errors import UsageError

if TYPE_CHECKING:
    from cd4ml.models.history import HistoryTable

__all__ = ["history"]


def history(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REF", help="NAME, NAME@champion, NAME@3, or the folder of a bundle or a history table."
        ),
    ],
    data: Annotated[
        str, typer.Option("--data", help="Folder or URL of all sources, the old rows and the new.")
    ] = "",
    snapshot: Annotated[
        Path | None, typer.Option("--snapshot", help="Folder of a snapshot, in place of --data.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder in which the history table is written.")
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", help="Serve so many recorded steps; 0: as far back as the bundle does.")
    ] = 0,
    store: Annotated[
        str, typer.Option("--store", help="Where snapshots are kept; CD4ML_STORE by default.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Make a history table of newer data for a model; without data, show what a model or table looks back at.

    The data go through the contract as in training. The exit code is 4 when they are refused, are older than
    the model's own history or begin too late. Where they contradict the past, a note says how much.

    Example: cd4ml models history sales-forecast@champion --data data/favorita --out history
    """
    if not data and snapshot is None:
        if out is not None:
            raise UsageError("expected --data or --snapshot, of which --out is made; found neither")
        _show(reference, as_json)
        return
    if data and snapshot is not None:
        raise UsageError("expected --data or --snapshot; found both. Give one of them")
    if out is None:
        raise UsageError("expected --out, the folder in which the history table is written; found none")
    _make(reference, data, snapshot, out, steps, store, as_json)


def _make(
    reference: str, data: str, snapshot: Path | None, out: Path, steps: int, store: str, as_json: bool
) -> None:
    from cd4ml.adapters.signing import verify_signature
    from cd4ml.models.history import HistoryTable
    from cd4ml.models.history_update import changes_text
    from cd4ml.steps.history import history_from_sources, update_history

    with bundle_folder(reference) as bundle:
        if snapshot is not None:
            found = update_history(bundle, snapshot, out, steps)
        else:
            found = history_from_sources(bundle, data, out, steps, store)
        if warning := verify_signature(bundle).warning:
            note(f"warning: {warning}")
    made = HistoryTable.open(out, own=True)
    if contradiction := changes_text(made.changes):
        note(f"warning: {contradiction}")
    if found["rows_quarantined"]:
        note(f"warning: rows set aside by the contract: {int(found['rows_quarantined'])}")
    counts = {name: int(value) for name, value in found.items()}
    value = _told(made) | counts | {"out": str(out)}
    until = f" up to {made.last}" if made.last else ""
    line = f"{out}: history{until}, steps added: {counts['steps_added']}, rows: {counts['rows']}"
    emit(value, as_json, [line, f"history {made.id}"])


def _show(reference: str, as_json: bool) -> None:
    from cd4ml.adapters.manifest import read_manifest
    from cd4ml.models.history import KIND, HistoryTable

    with bundle_folder(reference) as folder:
        if read_manifest(folder).get("kind") == KIND:
            found = HistoryTable.open(folder)
            if found.signature and found.signature.warning:
                note(f"warning: {found.signature.warning.replace('this bundle', 'this history table')}")
            value = _told(found)
        else:
            value = _own(folder)
    emit(value, as_json, table(("name", "value"), _rows(value), whole))


def _told(found: HistoryTable) -> dict[str, Any]:
    names = ("id", "bundle", "problem", "snapshot", "first", "last", "steps", "rows", "members", "changes")
    return {name: getattr(found, name) for name in names}


def _own(folder: Path) -> dict[str, Any]:
    """Return what a bundle's own history holds."""
    from cd4ml.models.history import history_span
    from cd4ml.models.runtime import Bundle

    bundle = Bundle.load(folder)
    return {"bundle": bundle.id, "problem": bundle.problem.name, **history_span(bundle.state)}


def _rows(value: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return what people are shown: of changes one line."""
    from cd4ml.models.history_update import changes_text

    rows = [(name, part) for name, part in value.items() if name not in ("members", "changes")]
    rows += [(f"members of {by or 'all'}", count) for by, count in value["members"].items()]
    if text := changes_text(value["changes"]) if "changes" in value else "":
        rows.append(("changes", text))
    return rows
