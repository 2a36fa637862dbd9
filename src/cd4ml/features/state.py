"""What features need besides a row: vocabularies, lookups, history. Data, no code; saved without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cd4ml.errors import IntegrityError
from cd4ml.features.columns import CategoryArray, ColumnLike
from cd4ml.features.encodings import Vocabulary
from cd4ml.features.joins import Lookup
from cd4ml.features.keys import KeyIndex
from cd4ml.features.panel import Panel

__all__ = ["Group", "State"]

_VERSION = 1
_FILE = "state.json"
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Group:
    """The members of a group.

    Parameters
    ----------
    index : KeyIndex
        By their keys.
    first_seen : int64 [members]
        The first step at which each has a row.
    """

    index: KeyIndex
    first_seen: NDArray[np.int64]


@dataclass(eq=False)
class State:
    """A fitted plan.

    Parameters
    ----------
    names, kinds : tuple of str
        Of each column of the features; `one_hot` has one for each category.
    origin_seconds, step_seconds : int
        Step 0 begins at the origin, in seconds since 1970; both 0 without time.
    first_train_step, last_step : int
        First step of the training rows; last step of all rows: the history ends there.
    lookups : tuple of Lookup
        One for each join.
    groups : dict
        Columns -> members.
    panels : tuple of Panel
        One for each series of the plan.
    vocabularies : dict
        Feature name -> vocabulary.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    origin_seconds: int
    step_seconds: int
    first_train_step: int
    last_step: int
    lookups: tuple[Lookup, ...]
    groups: dict[tuple[str, ...], Group]
    panels: tuple[Panel, ...]
    vocabularies: dict[str, Vocabulary]
    prepared: Any = field(default=None, repr=False)
    """What `transform` works out once for its plan."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "prepared": None}  # it is full of views, which a copy would make whole

    @property
    def panel_bytes(self) -> int:
        """Size of the history."""
        return sum(panel.values.nbytes for panel in self.panels)

    @property
    def first_step(self) -> int:
        """First step that the history has; 0 unless it was trimmed."""
        return max((panel.start for panel in self.panels), default=0)

    def trim(self, steps: int, needed_steps: int) -> State:
        """Return a state that serves the last `steps` recorded steps and all that come after.

        Parameters
        ----------
        steps : int
            E.g. the length of the holdout, so that it can be replayed.
        needed_steps : int
            `Plan.needed_steps`.
        """
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "prepared"}
        keep = max(1, steps + needed_steps)
        return State(**{**values, "panels": tuple(panel.trim(keep) for panel in self.panels)})

    def save(self, folder: Path) -> None:
        """Write `state.json` and .npy files into an existing folder; the same state gives the same bytes.

        Call it inside of `adapters.storage.atomic.directory`, which makes the folder appear whole.
        """
        arrays: Arrays = {}
        document = _describe(self, arrays)
        for name, array in arrays.items():
            _save(folder / f"{name}.npy", array)
        text = json.dumps(document, sort_keys=True, ensure_ascii=False, indent=1)
        (folder / _FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, mapped: bool = False) -> State:
        """Read what `save` wrote; with `mapped` histories stay on disk until they are asked for.

        Raises
        ------
        IntegrityError
            When files are absent or of another version.
        """
        try:
            document = json.loads((folder / _FILE).read_text(encoding="utf-8"))
            if document["version"] != _VERSION:
                raise IntegrityError(
                    f"expected a features state of version {_VERSION}; found {document['version']}. "
                    "Make the bundle anew with this cd4ml"
                )
            return _restore(document, _Reader(folder, mapped))
        except (OSError, EOFError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, IntegrityError):
                raise
            raise IntegrityError(f"{folder.name} is no whole features state: {error}") from error


class _Reader:
    def __init__(self, folder: Path, mapped: bool) -> None:
        self.folder, self.mapped = folder, mapped

    def __call__(self, name: str, *, large: bool = False) -> NDArray[Any]:
        mode: Literal["r"] | None = "r" if self.mapped and large else None
        result: NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode=mode, allow_pickle=False)
        return result


def _save(file: Path, array: NDArray[Any]) -> None:
    if isinstance(array, np.memmap) and array.filename and Path(array.filename).resolve() == file.resolve():
        array.flush()  # a panel beyond the budget was made in its place; opening it would empty it
        return
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)


def _describe_index(index: KeyIndex, name: str, arrays: Arrays) -> dict[str, Any]:
    arrays[f"{name}-ids"] = index.ids
    parts: list[Any] = []
    for number, values in enumerate(index.parts):
        if isinstance(values, tuple):
            parts.append(list(values))
        else:
            arrays[f"{name}-part{number}"] = values
            parts.append(None)
    return {"parts": parts}


def _restore_index(document: Mapping[str, Any], name: str, read: _Reader) -> KeyIndex:
    parts = [
        read(f"{name}-part{number}") if values is None else tuple(values)
        for number, values in enumerate(document["parts"])
    ]
    return KeyIndex(parts, read(f"{name}-ids"))


def _describe_lookup(lookup: Lookup, name: str, arrays: Arrays) -> dict[str, Any]:
    columns = []
    for number, (column, values) in enumerate(lookup.columns.items()):
        category = isinstance(values, CategoryArray)
        arrays[f"{name}-column{number}"] = values.codes if isinstance(values, CategoryArray) else values
        columns.append([column, list(values.categories) if category else None])  # type: ignore[union-attr]
    return {**_describe_index(lookup.index, name, arrays), "columns": columns}


def _restore_lookup(document: Mapping[str, Any], name: str, read: _Reader) -> Lookup:
    columns: dict[str, ColumnLike] = {}
    for number, (column, categories) in enumerate(document["columns"]):
        values = read(f"{name}-column{number}")
        columns[column] = values if categories is None else CategoryArray(values, tuple(categories))
    return Lookup(_restore_index(document, name, read), columns)


def _describe(state: State, arrays: Arrays) -> dict[str, Any]:
    for number, panel in enumerate(state.panels):
        arrays[f"panel{number}"] = panel.values
    groups = []
    for number, (by, group) in enumerate(state.groups.items()):
        arrays[f"group{number}-first"] = group.first_seen
        groups.append({"by": list(by), **_describe_index(group.index, f"group{number}", arrays)})
    return {
        "version": _VERSION,
        "names": list(state.names),
        "kinds": list(state.kinds),
        "origin_seconds": state.origin_seconds,
        "step_seconds": state.step_seconds,
        "first_train_step": state.first_train_step,
        "last_step": state.last_step,
        "lookups": [
            _describe_lookup(lookup, f"lookup{number}", arrays) for number, lookup in enumerate(state.lookups)
        ],
        "groups": groups,
        "panels": [
            {"groups": panel.groups, "steps": panel.steps, "pad": panel.pad, "start": panel.start}
            for panel in state.panels
        ],
        "vocabularies": {
            name: {"texts": list(words.texts), "shares": list(words.shares)}
            for name, words in state.vocabularies.items()
        },
    }


def _restore_panel(document: Mapping[str, Any], values: NDArray[Any]) -> Panel:
    panel = Panel(values, **document)
    size = Panel.size(panel.groups, panel.steps, panel.pad)
    if values.shape != (size,) or values.dtype != np.float32:
        raise ValueError(
            f"expected a history of {size} float32; found {values.dtype} of shape {values.shape}"
        )
    return panel


def _restore(document: Mapping[str, Any], read: _Reader) -> State:
    plain = ("origin_seconds", "step_seconds", "first_train_step", "last_step")
    return State(
        names=tuple(document["names"]),
        kinds=tuple(document["kinds"]),
        **{name: document[name] for name in plain},
        lookups=tuple(
            _restore_lookup(item, f"lookup{number}", read) for number, item in enumerate(document["lookups"])
        ),
        groups={
            tuple(item["by"]): Group(
                _restore_index(item, f"group{number}", read), read(f"group{number}-first")
            )
            for number, item in enumerate(document["groups"])
        },
        panels=tuple(
            _restore_panel(item, read(f"panel{number}", large=True))
            for number, item in enumerate(document["panels"])
        ),
        vocabularies={
            name: Vocabulary(tuple(item["texts"]), tuple(item["shares"]))
            for name, item in document["vocabularies"].items()
        },
    )
