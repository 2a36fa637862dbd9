"""What happened to a model in the registry, as events that are read off what the registry keeps anyway.

A model has two sequences that only ever grow: its versions, numbered without a gap, and the moves of its
aliases. Nothing else is written, so no event can be lost between two writes. A cursor tells how much of each
sequence somebody has seen. One number would not do: others write the two at the same moment, and which came
first is not recorded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cd4ml.adapters.registry import Registry
from cd4ml.adapters.registry_records import (
    AliasChange,
    ModelVersion,
    alias_key,
    parse_aliases,
    parse_history,
    parse_version,
    version_key,
)
from cd4ml.adapters.storage.documents import read_documents
from cd4ml.errors import NotFoundError, ServiceError, UsageError, nearest

__all__ = ["BATCH", "START", "Cursor", "ModelFeed", "RegistryEvent", "events_since"]

BATCH = 200
"""Most events that are returned at a time."""
_CURSOR = re.compile(r"(\d{1,9})\.(\d{1,9})")
_LATEST = "latest"


@dataclass(frozen=True)
class Cursor:
    """How many versions and how many moves of aliases of a model were seen; written "3.7"."""

    versions: int = 0
    moves: int = 0

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Return the cursor that a text such as "3.7" writes.

        Raises
        ------
        UsageError
            If it writes none.
        """
        found = _CURSOR.fullmatch(text.strip())
        if not found:
            raise UsageError(
                f"a cursor is the 'cursor' of an event, such as 3.7, or 0.0; found {text[:40]!r}"
            )
        return cls(int(found[1]), int(found[2]))

    @property
    def sequence(self) -> int:
        """How many events were seen."""
        return self.versions + self.moves

    def __str__(self) -> str:
        return f"{self.versions}.{self.moves}"


START = Cursor()
"""Before the first event."""


@dataclass(frozen=True)
class RegistryEvent:
    """A version was registered, or an alias moved.

    Attributes
    ----------
    kind : str
        "version" or "alias".
    number : int
        Of the version, or of the move among all moves of the model, from 1.
    cursor : Cursor
        Where to go on after this event.
    facts : mapping
        `version`, `bundle`, `created` and `verdict`; or `alias`, `from`, `to` and `at`. Who moved it and why
        is in the registry and the audit log alone.
    """

    kind: str
    model: str
    number: int
    cursor: Cursor
    facts: Mapping[str, Any]

    @property
    def id(self) -> str:
        """A name that this event has for all who read it, whatever else they have seen."""
        return f"{self.kind}-{self.number}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        told = {"cursor": str(self.cursor), "event": self.kind, "id": self.id, "model": self.model}
        return {**self.facts, **told, "sequence": self.cursor.sequence}


@dataclass(frozen=True)
class _Seen:
    """What one look at the store found."""

    versions: int = 0
    aliases: Mapping[str, int] | None = None
    moves: tuple[AliasChange, ...] = ()
    token: str | None = None


class ModelFeed:
    """The events of one model, for any number of readers who share one look at the store.

    One thread calls `poll`; others may call the rest at any time.

    Parameters
    ----------
    registry : Registry
        Only read.
    name : str
        The model; it need not exist yet.
    """

    def __init__(self, registry: Registry, name: str) -> None:
        self.name = name
        self._registry, self._storage = registry, registry.storage
        self._seen = _Seen()
        self._versions: dict[int, ModelVersion] = {}

    def poll(self) -> bool:
        """Look at the store and return whether there are new events.

        This reads the aliases' document, which is parsed only when its token is another one, and asks whether
        the next version is there. All versions are listed the first time alone.

        Raises
        ------
        ServiceError
            If the store cannot be reached, or is empty where it was not (a volume that is not mounted).
        IntegrityError
            If the document is not sound; what was seen before stays.
        """
        before = self._seen
        where = self._storage.url(alias_key(self.name))
        found = self._storage.read_versioned(alias_key(self.name))
        token = None if found is None else found[1]
        aliases, moves = before.aliases, before.moves
        if found is None and before.token is not None:
            raise ServiceError(
                f"'{where}' is gone, and nobody removes it: is the store away? Mount it, or see to its server"
            )
        if found is None:
            aliases, moves = {}, ()
        elif aliases is None or token != before.token:
            document = parse_aliases(found[0], where)
            aliases, moves = document["aliases"], tuple(parse_history(document))
        # After the aliases, never before: every version that they name is seen by now.
        versions = self._count(before.versions)
        self._seen = _Seen(versions, aliases, moves, token)
        return (versions, token) != (before.versions, before.token)

    @property
    def cursor(self) -> Cursor:
        """The end, as of the last `poll`."""
        return Cursor(self._seen.versions, len(self._seen.moves))

    @property
    def aliases(self) -> dict[str, int]:
        """Alias -> version, as of the last `poll`."""
        return dict(sorted((self._seen.aliases or {}).items()))

    def resolve(self, reference: str) -> int:
        """Return the version that an alias, "latest" or a number names, as of the last `poll`.

        Raises
        ------
        NotFoundError
            If there is no such model, alias or version.
        """
        seen, aliases = self._seen, self.aliases
        if not seen.versions:
            raise NotFoundError(f"the registry has no model '{self.name}'; push one, or mend the name")
        if reference.isdecimal() and 1 <= int(reference) <= seen.versions:
            return int(reference)
        if reference in aliases:
            return aliases[reference]
        if reference != _LATEST:
            have = [*aliases, _LATEST]
            raise NotFoundError(
                f"the model '{self.name}' has no version '{reference}'; it has 1 to {seen.versions} and the"
                f" names {', '.join(have)}{nearest(reference, have)}"
            )
        return seen.versions

    def since(self, cursor: Cursor, limit: int = BATCH) -> list[RegistryEvent]:
        """Return the events after a cursor, as of the last `poll`, at most `limit`; [] at the end.

        A version comes before the moves to it; apart from this the times decide, as far as they are known.
        Each event's own cursor is where to go on, so that nothing is lost and nothing comes twice.

        Raises
        ------
        UsageError
            If the cursor is ahead of the registry: the store was put back to an older state.
        """
        seen = self._seen
        if cursor.versions > seen.versions or cursor.moves > len(seen.moves):
            raise UsageError(
                f"the cursor {cursor} is ahead of '{self.name}', which is at {self.cursor}: the store was"
                " restored from an older copy; begin anew from 0.0"
            )
        last = min(seen.versions, cursor.versions + limit)
        versions = self._records(range(cursor.versions + 1, last + 1))
        moves = seen.moves[cursor.moves : cursor.moves + limit]
        events: list[RegistryEvent] = []
        while len(events) < limit and (versions or moves):
            if versions and (not moves or _goes_first(versions[0], moves[0])):
                cursor = Cursor(cursor.versions + 1, cursor.moves)
                events.append(_registered(versions.pop(0), cursor))
            else:
                cursor = Cursor(cursor.versions, cursor.moves + 1)
                events.append(_moved(self.name, moves[0], cursor))
                moves = moves[1:]
        return events

    def _count(self, known: int) -> int:
        """Return how many versions there are; they are numbered without a gap."""
        if not known:
            prefix = version_key(self.name, 0).removesuffix("0.json")
            names = (key.removeprefix(prefix).removesuffix(".json") for key in self._storage.list(prefix))
            return max((int(name) for name in names if name.isdecimal()), default=0)
        while self._storage.exists(version_key(self.name, known + 1)):
            known += 1
        return known

    def _records(self, numbers: range) -> list[ModelVersion]:
        missing = [number for number in numbers if number not in self._versions]
        keys = [version_key(self.name, number) for number in missing]
        if keys:
            documents = read_documents(self._storage, keys)
            self._versions |= {
                number: parse_version(self.name, document)
                for number, document in zip(missing, documents, strict=True)
            }
        return [self._versions[number] for number in numbers]


def events_since(
    registry: Registry, name: str, cursor: Cursor = START, limit: int = BATCH
) -> tuple[list[RegistryEvent], Cursor]:
    """Return the events of a model after a cursor, and where to go on; see `ModelFeed.since`."""
    feed = ModelFeed(registry, name)
    feed.poll()
    events = feed.since(cursor, limit)
    return events, events[-1].cursor if events else cursor


def _goes_first(version: ModelVersion, move: AliasChange) -> bool:
    """Tell whether a version is told before a move: one to it or to a later one, or by the clock."""
    return version.version <= (move.to_version or 0) or version.created <= move.at


def _registered(version: ModelVersion, cursor: Cursor) -> RegistryEvent:
    facts = {name: getattr(version, name) for name in ("version", "bundle", "created", "verdict")}
    return RegistryEvent("version", version.name, version.version, cursor, facts)


def _moved(name: str, move: AliasChange, cursor: Cursor) -> RegistryEvent:
    told = move.to_dict()
    return RegistryEvent("alias", name, cursor.moves, cursor, {key: told[key] for key in _TOLD})


_TOLD = ("alias", "from", "to", "at")
