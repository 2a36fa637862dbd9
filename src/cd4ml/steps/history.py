"""Make a history table, so that a model in use looks back at newer data than it was trained on."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cd4ml.models.runtime import Bundle

__all__ = ["history_from_sources", "update_history"]


def update_history(bundle: Path, snapshot: Path, out: Path, steps: int = 0) -> dict[str, float]:
    """Write the history table of a snapshot for a bundle.

    Parameters
    ----------
    bundle : Path
        Verified first.
    snapshot : Path
        Folder of a snapshot of all data, the old and the new; verified first.
    out : Path
        Folder of the table; appears whole, and replaces a table that is there.
    steps : int
        How many recorded steps it serves, besides all that come after; 0 for all that the bundle's own
        history serves, so that its holdout can still be replayed.

    Returns
    -------
    dict of str to float
        "rows" it was made of and "rows_quarantined" by the contract; "steps_added" beyond the bundle's own
        history; "steps_changed", at which the data contradict that, and "members_gone" from it.

    Raises
    ------
    IntegrityError
        If bundle or snapshot were altered, or the signature is not right.
    UsageError
        If the features look nothing up, or `out` is something else than a history table.
    DataError
        If the data are another problem's, older than the bundle's own history, or begin too late.
    """
    return _write(_opened(bundle, out, steps), snapshot, out, steps)


def _opened(bundle: Path, out: Path, steps: int) -> Bundle:
    """Return the bundle when a history table of so many steps can be written for it."""
    from cd4ml.errors import UsageError
    from cd4ml.models.history_update import require_history
    from cd4ml.models.runtime import Bundle

    if steps < 0:
        raise UsageError(f"expected 1 or more steps to serve, or 0 for as many as the bundle; found {steps}")
    _check_place(out)
    loaded = Bundle.load(bundle)
    require_history(loaded)
    return loaded


def _write(loaded: Bundle, snapshot: Path, out: Path, steps: int) -> dict[str, float]:
    from cd4ml.models.history import write_history
    from cd4ml.models.history_update import newer_state
    from cd4ml.tables.snapshot import open_snapshot

    taken = open_snapshot(snapshot)
    with tempfile.TemporaryDirectory(prefix="cd4ml-") as scratch:
        made = newer_state(loaded, taken, Path(scratch), steps)
    write_history(out, loaded, made.state, snapshot=taken.id, rows=made.rows, changes=made.changes)
    aside = sum(table["rows_quarantined"] for table in taken.manifest["tables"].values())
    return {
        "rows": float(made.rows),
        "rows_quarantined": float(aside),
        "steps_added": float(made.steps_added),
        "steps_changed": float(made.changes["steps"]),
        "members_gone": float(sum(group["gone"] for group in made.changes["groups"])),
    }


def history_from_sources(
    bundle: Path, data: str, out: Path, steps: int = 0, store: str = ""
) -> dict[str, float]:
    """Take a snapshot of the sources by the bundle's problem, as training does, and write its history table.

    Parameters
    ----------
    data, store : str
        Where the sources are and where the snapshot is kept ("" for the default store).
    bundle, out, steps
        As in `update_history`, which says what is returned and raised.

    Raises
    ------
    SourceError, ContractError
        If the data are refused; nothing is stored or written then.
    """
    from cd4ml.steps.snapshot import take_snapshot

    loaded = _opened(bundle, out, steps)
    with tempfile.TemporaryDirectory(prefix="cd4ml-") as name:
        scratch = Path(name)
        take_snapshot(bundle / "problem.json", data, store, scratch / "snapshot", scratch / "profile.html")
        return _write(loaded, scratch / "snapshot", out, steps)


def _check_place(out: Path) -> None:
    """Refuse to replace what is no history table."""
    from cd4ml.adapters.manifest import read_manifest
    from cd4ml.errors import IntegrityError, UsageError
    from cd4ml.models.history import KIND

    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        kind = read_manifest(out).get("kind")
    except (IntegrityError, OSError):
        kind = None
    if kind != KIND:
        raise UsageError(f"'{out}' is neither an empty folder nor a history table; give --out another name")
