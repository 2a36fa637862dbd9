"""Rollouts in the store: their state by compare-and-swap, the lease of their controller, commands of people.

`rollouts/<service>/current.json` names the one rollout of a service; `<id>.json` beside it is its state;
`<id>/commands/<n>.json` are commands, numbered without a gap; `lease.json` says who may act. `<id>/look.json`
and `<id>/trail.json` are for people: the evidence of the last look, and how it grew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cd4ml.adapters.storage.base import Storage
from cd4ml.adapters.storage.documents import decode, encode
from cd4ml.domain.rollout.state import Rollout
from cd4ml.errors import ConflictError, IntegrityError, NotFoundError, UsageError, nearest

__all__ = ["Asked", "Lease", "RolloutStore", "Stored"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_RESERVED = ("current", "lease")
_BELIEVED_LEASES = 10


@dataclass(frozen=True)
class Asked:
    """A command of a person: what, who, why and when (seconds since 1970)."""

    number: int
    command: str
    by: str
    reason: str
    at_seconds: float


@dataclass(frozen=True)
class Lease:
    """Who may act for a service.

    Attributes
    ----------
    fence : int
        Grows each time another holder takes over: what carries a lower number comes from one who lost it.
    """

    holder: str
    expires_at_seconds: float
    fence: int


@dataclass(frozen=True)
class Stored:
    """A rollout with its policy, and the token that a write of it must name."""

    rollout: Rollout
    policy: Mapping[str, Any]
    token: str


class RolloutStore:
    """All rollouts of a store.

    Parameters
    ----------
    storage : Storage
        As `open_store` gives it.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def services(self) -> list[str]:
        """Return the services that ever had a rollout, sorted."""
        keys = self._storage.list("rollouts/")
        return sorted({key.split("/")[1] for key in keys if key.endswith("/current.json")})

    def ids(self, service: str) -> list[str]:
        """Return the ids of a service's rollouts, sorted."""
        prefix = f"rollouts/{_checked(service)}/"
        names = [key.removeprefix(prefix) for key in self._storage.list(prefix)]
        own = [name.removesuffix(".json") for name in names if name.endswith(".json") and "/" not in name]
        return sorted(name for name in own if name not in ("current", "lease"))

    def start(self, rollout: Rollout, policy: Mapping[str, Any]) -> Stored:
        """Record a new rollout, unless the service has one that has not ended.

        Raises
        ------
        ConflictError
            If it has; end it first.
        """
        service = _checked(rollout.service)
        key = f"rollouts/{service}/current.json"
        found = self._storage.read_versioned(key)
        before = None
        if found is not None:
            before = found[1]
            running = self._read(service, str(decode(found[0], key)["id"]))
            if running is not None and running.rollout.id == rollout.id:
                return running
            if running is not None and not running.rollout.ended:
                raise ConflictError(
                    f"'{service}' has the rollout {running.rollout.id} in phase '{running.rollout.phase}';"
                    " one goes at a time. Wait for its end or abort it"
                )
        # The rollout is written first: a crash between the two leaves one that nobody names yet, which the
        # same start takes up again, and never a name without a rollout.
        stored = self._read(service, _checked(rollout.id))
        if stored is None:
            data = encode({"rollout": rollout.to_dict(), "policy": dict(policy)})
            token = self._storage.compare_and_swap(_key(service, rollout.id), data, None)
            stored = Stored(rollout, policy, token)
        self._storage.compare_and_swap(key, encode({"id": rollout.id}), before)
        return stored

    def current(self, service: str) -> Stored:
        """Return the newest rollout of a service; raises NotFoundError if it never had one."""
        found = self._storage.read_versioned(f"rollouts/{_checked(service)}/current.json")
        if found is None:
            known = self.services()
            raise NotFoundError(f"'{service}' has no rollout{nearest(service, known)}; start one")
        return self.get(service, str(decode(found[0], service)["id"]))

    def get(self, service: str, rollout_id: str) -> Stored:
        """Return a rollout by its id; raises NotFoundError."""
        found = self._read(_checked(service), _checked(rollout_id))
        if found is None:
            known = self.ids(service)
            raise NotFoundError(f"'{service}' has no rollout '{rollout_id}'{nearest(rollout_id, known)}")
        return found

    def save(self, stored: Stored, rollout: Rollout) -> Stored:
        """Write the next state of a rollout; raises ConflictError if another writer was first."""
        key = _key(rollout.service, rollout.id)
        data = encode({"rollout": rollout.to_dict(), "policy": dict(stored.policy)})
        return Stored(rollout, stored.policy, self._storage.compare_and_swap(key, data, stored.token))

    def ask(self, rollout: Rollout, command: str, by: str, reason: str, at_seconds: float) -> Asked:
        """Leave a command for the controller, behind those that are there."""
        number = len(self.commands(rollout)) + 1
        while True:
            asked = Asked(number, command, by, reason, at_seconds)
            try:
                key = _command_key(rollout, number)
                self._storage.compare_and_swap(key, encode(asdict(asked)), None)
            except ConflictError:
                number += 1
            else:
                return asked

    def commands(self, rollout: Rollout, after: int = 0) -> list[Asked]:
        """Return the commands with a number above `after`, in their order."""
        prefix = f"rollouts/{rollout.service}/{rollout.id}/commands/"
        keys = [key for key in self._storage.list(prefix) if key > _command_key(rollout, after)]
        return [_asked(self._storage.get(key), key) for key in sorted(keys)]

    def keep(self, rollout: Rollout, name: str, document: Mapping[str, Any]) -> None:
        """Write what people may look at: "look" or "trail"; the last one holds."""
        self._storage.put(_kept_key(rollout, name), encode(document))

    def kept(self, rollout: Rollout, name: str) -> dict[str, Any]:
        """Return what `keep` wrote; {} where there is nothing."""
        key = _kept_key(rollout, name)
        found = self._storage.read_versioned(key)
        return {} if found is None else decode(found[0], key)

    def lease(self, service: str) -> Lease | None:
        """Return who has, or had, the lease of a service."""
        key = f"rollouts/{_checked(service)}/lease.json"
        found = self._storage.read_versioned(key)
        return None if found is None else _lease(found[0], key)

    def raise_fence(self, service: str, least: int) -> None:
        """Let the next holder's fence be above `least`: a plane may remember more than a new store does."""
        key = f"rollouts/{_checked(service)}/lease.json"
        found = self._storage.read_versioned(key)
        old = Lease("", 0.0, 0) if found is None else _lease(found[0], key)
        if old.fence < least:
            new = encode(asdict(Lease("", 0.0, least)))
            self._storage.compare_and_swap(key, new, None if found is None else found[1])

    def acquire(self, service: str, holder: str, now_seconds: float, for_seconds: float) -> Lease:
        """Return the lease of a service, taken or prolonged by `holder`.

        Parameters
        ----------
        now_seconds : float
            Since 1970. Clocks of controllers should agree within a fraction of `for_seconds`; where they do
            not, the fence still keeps the older one from acting.
        for_seconds : float
            How long nobody else may take it.

        Raises
        ------
        ConflictError
            If somebody else has it. One that would last much longer than leases do comes from a clock that
            was wrong, and does not count.
        """
        key = f"rollouts/{_checked(service)}/lease.json"
        found = self._storage.read_versioned(key)
        old = None if found is None else _lease(found[0], key)
        left = 0.0 if old is None else old.expires_at_seconds - now_seconds
        living = 0 < left <= _BELIEVED_LEASES * for_seconds
        if old is not None and old.holder != holder and living:
            raise ConflictError(
                f"'{old.holder}' acts for '{service}' for {left:.0f} s more; two controllers would contradict"
                " each other. Stop one of them"
            )
        kept = old is not None and old.holder == holder and living
        fence = 1 if old is None else old.fence + (0 if kept else 1)
        new = Lease(holder, now_seconds + for_seconds, fence)
        self._storage.compare_and_swap(key, encode(asdict(new)), None if found is None else found[1])
        return new

    def release(self, service: str, lease: Lease, now_seconds: float) -> None:
        """Give a lease back, if it is still the holder's."""
        key = f"rollouts/{_checked(service)}/lease.json"
        found = self._storage.read_versioned(key)
        if found is not None and _lease(found[0], key) == lease:
            ended = Lease(lease.holder, now_seconds, lease.fence)
            self._storage.compare_and_swap(key, encode(asdict(ended)), found[1])

    def _read(self, service: str, rollout_id: str) -> Stored | None:
        key = _key(service, rollout_id)
        found = self._storage.read_versioned(key)
        if found is None:
            return None
        document = decode(found[0], key)
        try:
            return Stored(Rollout.from_dict(document["rollout"]), document["policy"], found[1])
        except KeyError as error:
            raise IntegrityError(f"{key} lacks {error}: it was not written by cd4ml") from error


def _key(service: str, rollout_id: str) -> str:
    return f"rollouts/{service}/{rollout_id}.json"


def _asked(data: bytes, key: str) -> Asked:
    """Return a command; one that cannot be read is none, and must not keep those behind it waiting."""
    number = int(key.rpartition("/")[2].removesuffix(".json"))
    try:
        return Asked(**{**decode(data, key), "number": number})
    except (TypeError, IntegrityError) as error:
        return Asked(number, "", "", f"cannot be read: {error}", 0.0)


def _lease(data: bytes, key: str) -> Lease:
    try:
        return Lease(**decode(data, key))
    except TypeError as error:
        raise IntegrityError(f"'{key}' is no lease: {error}; restore or delete it") from error


def _kept_key(rollout: Rollout, name: str) -> str:
    return f"rollouts/{rollout.service}/{rollout.id}/{name}.json"


def _command_key(rollout: Rollout, number: int) -> str:
    return f"rollouts/{rollout.service}/{rollout.id}/commands/{number:06d}.json"


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise UsageError(
            f"expected a name of letters, digits, '.', '_' and '-' that is none of {', '.join(_RESERVED)};"
            f" found '{name[:60]}'"
        )
    return name
