"""Consumers' contracts: read from the files that their owners commit, and kept in a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cd4ml.adapters.document_lines import decoded, dump_yaml, first_error, parse
from cd4ml.adapters.storage import Storage
from cd4ml.adapters.storage.documents import decode, encode
from cd4ml.adapters.storage.hashing import sha256_bytes
from cd4ml.domain.consumer_contract import ConsumerContract
from cd4ml.errors import ConflictError, IntegrityError, NotFoundError, UsageError, nearest

__all__ = ["ConsumerStore", "Revision", "dumps", "load", "loads"]

_KEYS = "`consumer`, `problem`, `owner`, `requests` ..."
_SUFFIX = ".json"


@cache
def _reader() -> TypeAdapter[ConsumerContract]:
    return TypeAdapter(ConsumerContract)


def load(path: Path) -> ConsumerContract:
    """Return the contract in a YAML or JSON file.

    Raises
    ------
    NotFoundError
        When there is no such file.
    ProblemError
        When it is wrong; names line, key, what was found and the nearest right word.
    """
    try:
        return loads(decoded(path.read_bytes(), str(path), "consumer's contract"), str(path))
    except IsADirectoryError:
        raise NotFoundError(f"expected a consumer's contract; {path} is a directory") from None
    except OSError as error:
        raise NotFoundError(f"the contract '{path}' cannot be read: {error.strerror}") from None


def loads(text: str, origin: str = "contract") -> ConsumerContract:
    """Return the contract that `text` (YAML or JSON) describes; `origin` is named in errors."""
    lines, document = parse(text, origin, _KEYS)
    try:
        return _reader().validate_python(document)
    except ValidationError as error:
        raise first_error(error, lines, origin, ConsumerContract) from None


def dumps(contract: ConsumerContract) -> str:
    """Return the contract as YAML, without what is left at its default; `loads` reads it back."""
    return dump_yaml(contract.to_dict())


@dataclass(frozen=True)
class Revision:
    """One change of a consumer's contract in the store.

    Attributes
    ----------
    number : int
        From 1 on.
    sha256 : str
        Of the contract as the store keeps it; "" where it was removed.
    """

    number: int
    at: str
    by: str
    reason: str
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as it stands in the store."""
        return {
            "number": self.number,
            "at": self.at,
            "by": self.by,
            "reason": self.reason,
            "sha256": self.sha256,
        }


@dataclass(frozen=True)
class _Stored:
    contract: ConsumerContract | None
    history: tuple[Revision, ...]
    token: str | None


def _now() -> datetime:
    return datetime.now(UTC)


class ConsumerStore:
    """The contracts of all consumers, at `consumers/<problem>/<consumer>.json`, changed by compare-and-swap.

    A removed contract leaves its history, so that it can be seen who let a breaking change pass.
    """

    def __init__(self, storage: Storage, clock: Callable[[], datetime] = _now) -> None:
        self.storage = storage
        self._clock = clock

    def add(
        self, contract: ConsumerContract, *, by: str, reason: str = "", expected: int | None = None
    ) -> Revision:
        """Put a contract in, or a new one in place of its consumer's old one; the same one changes nothing.

        Parameters
        ----------
        by, reason : str
            Who and why; kept in the history.
        expected : int, optional
            Only if the store has this revision now; 0: none yet.

        Raises
        ------
        ConflictError
            If the store has another revision, or somebody else was first; nothing was written.
        """
        text = encode(contract.to_dict())
        return self._change(contract.problem, contract.consumer, text, by, reason, expected)

    def remove(self, problem: str, consumer: str, *, by: str, reason: str) -> Revision:
        """Take a contract away, and keep who did it and why.

        Raises
        ------
        NotFoundError
            If there is no such contract.
        UsageError
            If there is no reason.
        """
        self.get(problem, consumer)
        if not reason.strip():
            raise UsageError("removing a contract needs a reason; it is kept in the history")
        return self._change(problem, consumer, b"", by, reason, None)

    def get(self, problem: str, consumer: str) -> ConsumerContract:
        """Return the contract of a consumer.

        Raises
        ------
        NotFoundError
            If there is none; the nearest name is suggested.
        IntegrityError
            If the store's document is not what its history promises.
        """
        found = self._read(problem, consumer)
        if found.contract is None:
            names = self.consumers(problem)
            known = f"it has {', '.join(names)}" if names else "it has none; add one"
            raise NotFoundError(
                f"'{problem}' has no consumer '{consumer}'; {known}{nearest(consumer, names)}"
            )
        return found.contract

    def history(self, problem: str, consumer: str) -> tuple[Revision, ...]:
        """Return all changes of a consumer's contract, the oldest first; none when it never had one."""
        return self._read(problem, consumer).history

    def problems(self) -> list[str]:
        """Return the problems that have, or had, consumers, sorted."""
        return sorted({key.split("/")[1] for key in self.storage.list("consumers/")})

    def consumers(self, problem: str) -> list[str]:
        """Return the names of a problem's consumers, sorted; also of those whose document is damaged."""
        return [name for name, contract in self.contracts(problem) if contract is not None]

    def contracts(self, problem: str) -> Iterator[tuple[str, ConsumerContract | IntegrityError]]:
        """Yield each consumer's name and contract, or why it cannot be read, in the order of the names."""
        prefix = f"consumers/{problem}/"
        names = [key.removeprefix(prefix) for key in self.storage.list(prefix)]
        for name in sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)):
            try:
                contract = self._read(problem, name).contract
            except IntegrityError as error:
                yield name, error
            else:
                if contract is not None:
                    yield name, contract

    def _read(self, problem: str, consumer: str) -> _Stored:
        key = _key(problem, consumer)
        found = self.storage.read_versioned(key)
        if found is None:
            return _Stored(None, (), None)
        url = self.storage.url(key)
        document = decode(found[0], url)
        try:
            history = tuple(Revision(**entry) for entry in document["history"])
            promised, text = history[-1].sha256, document["contract"]
            whole = promised == ("" if text is None else sha256_bytes(encode(text)))
        except (KeyError, TypeError, LookupError, AttributeError):
            whole = False
        if not whole:
            raise IntegrityError(
                f"'{url}' is not as it was written; restore or delete it, then add '{consumer}' again"
            )
        if text is None:
            return _Stored(None, history, found[1])
        try:
            contract = _reader().validate_python(text)
        except ValidationError as error:
            told = first_error(error, {}, url, ConsumerContract)
            raise IntegrityError(f"{told}; restore or delete it, then add the contract again") from None
        return _Stored(contract, history, found[1])

    def _change(
        self, problem: str, consumer: str, text: bytes, by: str, reason: str, expected: int | None
    ) -> Revision:
        """Write a contract's next revision; no text removes it."""
        now = self._read(problem, consumer)
        last = now.history[-1] if now.history else None
        number = last.number if last else 0
        if expected is not None and expected != number:
            raise ConflictError(
                f"the contract of '{consumer}' should be at revision {expected} and is at {number}: somebody"
                " else changed it. Look at it and decide anew"
            )
        sha256 = sha256_bytes(text) if text else ""
        if last is not None and last.sha256 == sha256:
            return last
        at = self._clock().isoformat(timespec="seconds")
        new = Revision(number + 1, at, by, reason, sha256)
        document = {
            "contract": decode(text, consumer) if text else None,
            "history": [revision.to_dict() for revision in (*now.history, new)],
        }
        self.storage.compare_and_swap(_key(problem, consumer), encode(document), now.token)
        return new


def _key(problem: str, consumer: str) -> str:
    if not problem or not consumer or "/" in problem or "/" in consumer:
        raise UsageError(f"expected the names of a problem and a consumer; found '{problem}', '{consumer}'")
    return f"consumers/{problem}/{consumer}{_SUFFIX}"
