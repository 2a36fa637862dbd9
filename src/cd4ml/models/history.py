"""A history table: what features look back at, newer than the history that a bundle was made with.

A folder with a features state in `features/`, `manifest.json` and, where somebody vouches for it,
`manifest.json.sig`, as bundles have them. It belongs to one bundle: what training counted is that bundle's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cd4ml.adapters.manifest import bundle_id, read_manifest, verify_manifest, write_manifest
from cd4ml.adapters.signing import SIGNING_KEY, Signature, require_signature, sign
from cd4ml.adapters.storage import atomic
from cd4ml.errors import DataError, IntegrityError
from cd4ml.features.changes import step_text
from cd4ml.features.state import State
from cd4ml.models.runtime import FEATURES, Bundle

__all__ = [
    "HISTORY_FORMAT",
    "KIND",
    "HistoryTable",
    "check_newer",
    "history_span",
    "load_history",
    "write_history",
]

HISTORY_FORMAT = "1"
KIND = "history"
"""What the manifest of a history table says that it is."""
_WHAT = "history table"
_TOLD = ("bundle", "problem", "snapshot", "first", "last", "steps", "rows", "members", "changes")


@dataclass(frozen=True)
class HistoryTable:
    """What a history table says of itself.

    Attributes
    ----------
    id : str
        SHA-256 of its manifest.
    bundle : str
        Id of the bundle to which it belongs.
    snapshot : str
        Id of the snapshot from which it was made.
    first, last : str
        First and last step that it holds, as times; "" without time.
    steps : int
        How many steps it holds; 0 without time.
    rows : int
        Facts from which it was made.
    members : mapping
        Columns of a group, separated by commas -> its members; "" is the group of all.
    changes : mapping
        What differs from the bundle's own history where both know it, see
        `cd4ml.features.changes.state_changes`.
    signature : Signature or None
        What its signature is worth; None where it was not looked at.
    """

    id: str
    folder: Path
    bundle: str
    problem: str
    snapshot: str
    first: str
    last: str
    steps: int
    rows: int
    members: Mapping[str, int]
    changes: Mapping[str, Any]
    signature: Signature | None

    @classmethod
    def open(cls, folder: Path, verify: bool = True, *, own: bool = False) -> HistoryTable:
        """Read what a table says of itself; its state is not read.

        Parameters
        ----------
        verify : bool
            First check the SHA-256 of each file and, where CD4ML_VERIFY_KEY is set, that one of its keys
            signed.
        own : bool
            The table was written by this process or its parent just now: nobody needs to vouch for it.

        Raises
        ------
        IntegrityError
            If the folder is no history table, a file was changed, is missing or additional, or the signature
            is not right.
        """
        manifest = verify_manifest(folder, _WHAT) if verify else read_manifest(folder, _WHAT)
        if manifest.get("kind") != KIND or manifest.get("format") != HISTORY_FORMAT:
            found = f"{manifest.get('kind', 'bundle')} of format {manifest.get('format')}"
            raise IntegrityError(
                f"expected a history table of format {HISTORY_FORMAT} in '{folder}'; found a {found}. Make"
                " one with `cd4ml models history`"
            )
        signature = require_signature(folder, () if own else None, _WHAT) if verify else None
        told = {name: manifest.get(name) for name in _TOLD}
        if None in told.values():
            raise IntegrityError(f"the history table '{folder}' lacks entries; make it again")
        return cls(bundle_id(folder), folder, **told, signature=signature)  # type: ignore[arg-type]


def load_history(folder: Path, bundle: Bundle, verify: bool = True, *, own: bool = False) -> Bundle:
    """Return the bundle with the history of a table in place of its own.

    Predictions for rows within the bundle's own history stay the same, unless data of the past were changed.

    Parameters
    ----------
    verify, own
        As in `HistoryTable.open`.

    Returns
    -------
    Bundle
        Its `history` is the table's id.

    Raises
    ------
    IntegrityError
        If the table was altered, is no history table or is another bundle's.
    DataError
        If it ends before the bundle's own history.
    """
    table = HistoryTable.open(folder, verify, own=own)
    if table.bundle != bundle.id:
        raise IntegrityError(
            f"the history table '{folder}' belongs to the bundle {table.bundle[:12]}; expected one of"
            f" {bundle.id[:12]}. Make one with `cd4ml models history` and this bundle"
        )
    state = State.load(folder / FEATURES)
    _check_same_training(bundle, state)
    check_newer(bundle, state)
    return replace(bundle, state=state, history=table.id)


def write_history(
    folder: Path,
    bundle: Bundle,
    state: State,
    *,
    snapshot: str,
    rows: int,
    changes: Mapping[str, Any],
    signed: bool | None = None,
) -> str:
    """Write a history table and return its id; the folder is whole or absent.

    The same arguments give the same bytes: there is no clock and no path in it.

    Parameters
    ----------
    state : State
        Of the bundle's training, over newer data.
    snapshot, rows, changes
        As in `HistoryTable`.
    signed : bool, optional
        Sign with the key of CD4ML_SIGNING_KEY; by default when that is set.

    Raises
    ------
    IntegrityError
        If the state is not of the bundle's training.
    DataError
        If it ends before the bundle's own history.
    """
    _check_same_training(bundle, state)
    check_newer(bundle, state)
    with atomic.directory(folder) as inside:
        (inside / FEATURES).mkdir()
        state.save(inside / FEATURES)
        identity = write_manifest(
            inside,
            kind=KIND,
            format=HISTORY_FORMAT,
            bundle=bundle.id,
            problem=bundle.problem.name,
            snapshot=snapshot,
            rows=rows,
            changes=dict(changes),
            **history_span(state),
        )
        if os.environ.get(SIGNING_KEY) if signed is None else signed:
            sign(inside)
    return identity


def history_span(state: State) -> dict[str, Any]:
    """Return `first`, `last`, `steps` and `members` of a state, as in `HistoryTable`."""
    timed = state.step_seconds > 0
    return {
        "first": step_text(state, state.first_step) if timed else "",
        "last": step_text(state, state.last_step) if timed else "",
        "steps": state.last_step - state.first_step + 1 if timed else 0,
        "members": {",".join(by): len(group.index) for by, group in state.groups.items()},
    }


def check_newer(bundle: Bundle, state: State) -> None:
    """Refuse a history that ends before the bundle's own.

    Raises
    ------
    DataError
        With where the two end.
    """
    if _seconds(state, state.last_step) < _seconds(bundle.state, bundle.state.last_step):
        raise DataError(
            f"expected a history up to {step_text(bundle.state, bundle.state.last_step)} or later, where the"
            f" bundle's own ends; found one up to {step_text(state, state.last_step)}. Give newer data"
        )


def _seconds(state: State, step: int) -> int:
    return state.origin_seconds + step * state.step_seconds


def _training(state: State) -> tuple[Any, ...]:
    """Return what a state took from training, as it does not depend on where its calendar begins."""
    return (
        state.names,
        state.kinds,
        state.vocabularies,
        state.step_seconds,
        _seconds(state, state.first_train_step),
        list(state.groups),
        len(state.panels),
        [list(lookup.columns) for lookup in state.lookups],
    )


def _check_same_training(bundle: Bundle, state: State) -> None:
    if _training(state) != _training(bundle.state):
        raise IntegrityError(
            f"expected a history of the training of bundle {bundle.id[:12]}; found one of another training."
            " Make it with `cd4ml models history` and this bundle"
        )
