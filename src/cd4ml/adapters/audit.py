"""The audit log: who decided what and when, as JSON Lines that show it when one is altered or removed.

Each line has the hash of the line before, and a signature where CD4ML_SIGNING_KEY is set. A chain alone does
not show that its last lines were cut off: `audit/head.json` says how long it was, and `verify` also takes a
hash that was noted elsewhere. Who can write to the store, and has the signing key, can write another history;
against that help only a key that the store's owner has not, and hashes noted where he cannot write.

References
----------
.. [1] Haber, Stornetta, 1991, How to time-stamp a digital document, Journal of Cryptology 3.
.. [2] Schneier, Kelsey, 1999, Secure audit logs to support computer forensics, ACM TISSEC 2.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cd4ml.adapters.audit_line import FIRST, AuditLine, canonical, new_line, parse_line
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY, sign_message, signature_of
from cd4ml.adapters.storage import Storage
from cd4ml.adapters.storage.documents import decode, encode
from cd4ml.errors import ConflictError, IntegrityError

__all__ = ["AuditLog", "AuditReport"]

_PREFIX = "audit/"
_HEAD = "audit/head.json"
_SEGMENT_LINES = 1000
_ATTEMPTS = 100
_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class AuditReport:
    """What `AuditLog.verify` found in a log that is whole.

    Attributes
    ----------
    lines : int
        How many there are.
    head : str
        Hash of the last line: note it elsewhere, and the log can be held against it later.
    signed, unsigned, unknown : int
        Lines by one of the keys of CD4ML_VERIFY_KEY, by nobody, and by a key that is not among them.
    keys : tuple of str
        Ids of the keys that signed.
    """

    lines: int
    head: str
    signed: int
    unsigned: int
    unknown: int
    keys: tuple[str, ...]

    @property
    def warning(self) -> str:
        """What to tell loudly; "" when every line is by a key of ours."""
        parts = []
        if self.unsigned:
            parts.append(
                f"UNSIGNED: nobody vouches for {self.unsigned} of {self.lines} lines; set {SIGNING_KEY} where"
                " decisions are made"
            )
        if self.unknown:
            parts.append(
                f"UNVERIFIED: {self.unknown} lines are signed by keys that {VERIFY_KEY} does not hold"
            )
        return ". ".join(parts)


class AuditLog:
    """Lines in a store, one file (`audit/000001.jsonl`, ...) for each thousand.

    Parameters
    ----------
    storage : Storage
        Several processes may write at once: each line goes in by compare-and-swap.
    segment_lines : int
        Lines of a file. A full one is never written again.
    """

    def __init__(self, storage: Storage, segment_lines: int = _SEGMENT_LINES) -> None:
        self.storage = storage
        self._segment_lines = segment_lines

    def append(
        self, kind: str, subject: str, facts: Mapping[str, Any], now: datetime, by: str = ""
    ) -> AuditLine:
        """Add a line at the end, behind whatever other writers added meanwhile, and return it.

        Raises
        ------
        IntegrityError
            If the end of the log was altered or cut off: a line behind it would hide that.
        ConflictError
            If other writers were first each of a hundred times.
        """
        for attempt in range(_ATTEMPTS):
            head = self._head()
            key, data, token, last = self._end()
            _check_head(head, last)
            line = new_line(last, kind, subject, facts, now, by)
            try:
                self.storage.compare_and_swap(key, data + line.to_bytes(), token)
            except ConflictError:
                time.sleep(min(_PAUSE_SECONDS * attempt, _LONGEST_PAUSE_SECONDS) * random.random())  # noqa: S311
                continue
            self._move_head(line)
            return line
        raise ConflictError(f"{_ATTEMPTS} times others wrote to the audit log first; try again")

    def lines(self) -> Iterator[AuditLine]:
        """Yield all lines, each held against the one before, and at the end the last one against the head.

        Raises
        ------
        IntegrityError
            Where a line was altered, removed, added or moved; it is named by its number.
        """
        head = self._head()  # before the lines: what is written meanwhile is no fault
        line, at_head = None, None
        for line in self._chain():
            at_head = line if head and line.number == head["lines"] else at_head
            yield line
        if line and line.number > 1 and head is None and self._head() is None:
            raise _removed(f"'{self.storage.url(_HEAD)}'")
        _check_head(head, line, at_head)

    def _chain(self) -> Iterator[AuditLine]:
        number, previous = 0, FIRST
        for place, key in enumerate(self._segments(), start=1):
            if key != self._key(place):
                first, last = number + 1, place * self._segment_lines
                raise _removed(
                    f"lines {first} to {last} ('{self.storage.url(self._key(place))}' is not there)"
                )
            if number != (place - 1) * self._segment_lines:
                raise _removed(f"lines behind line {number}, at the end of a file,")
            for text in _split(self.storage.get(key), number):
                number += 1
                line = parse_line(text, number)
                _check_link(line, number, previous)
                previous = line.hash
                yield line

    def head(self) -> str:
        """Return the hash of the last line, "" when there is none: it changes when a line is added."""
        found = self._head()
        return str(found["hash"]) if found else ""

    def verify(self, expected: str = "") -> AuditReport:
        """Hold every line against its hash, its predecessor and its signature, and the end against the head.

        With CD4ML_VERIFY_KEY set, every line from the first signed one on must be by one of its keys; those
        before are vouched for by it, since it has their hash.

        Parameters
        ----------
        expected : str
            The hash of a line that was noted elsewhere, such as an earlier head.

        Raises
        ------
        IntegrityError
            If a line was altered, removed, added or moved, is not by one of our keys, or `expected` is the
            hash of none.
        """
        counts = {"valid": 0, "unsigned": 0, "unknown_key": 0}
        keys: set[str] = set()
        line, met = None, not expected
        for line in self.lines():
            signature = line.signed_by()
            _check_signature(line, signature.state, signature.warning, counts["valid"] > 0)
            counts[signature.state] += 1
            keys |= {signature.key_id} - {""}
            met = met or line.hash == expected
        if not met:
            raise IntegrityError(
                f"no line of the audit log has the hash {expected[:12]} that was noted: lines were removed or"
                " written anew since. Restore the log from a copy"
            )
        if line and os.environ.get(VERIFY_KEY) and not counts["valid"]:
            raise IntegrityError(
                f"no line of the audit log is signed by a key of {VERIFY_KEY}: set {SIGNING_KEY} where"
                " decisions are made; if lines were signed before, they were removed"
            )
        return AuditReport(
            line.number if line else 0,
            line.hash if line else FIRST,
            counts["valid"],
            counts["unsigned"],
            counts["unknown_key"],
            tuple(sorted(keys)),
        )

    def _key(self, place: int) -> str:
        return f"{_PREFIX}{place:06d}.jsonl"

    def _segments(self) -> list[str]:
        return [key for key in self.storage.list(_PREFIX) if key.endswith(".jsonl")]

    def _end(self) -> tuple[str, bytes, str | None, AuditLine | None]:
        """Return where the next line goes: key, what is there, its token, and the line before."""
        segments = self._segments()
        if not segments:
            return self._key(1), b"", None, None
        place = len(segments)
        found = self.storage.read_versioned(self._key(place))
        if found is None:
            raise _removed(f"the file '{self.storage.url(self._key(place))}'")
        before = (place - 1) * self._segment_lines
        texts = _split(found[0], before)
        if not texts:
            raise _removed(f"the lines of '{self.storage.url(self._key(place))}'")
        last = parse_line(texts[-1], before + len(texts))
        if last.number != before + len(texts):
            raise _moved(last, before + len(texts))
        if len(texts) < self._segment_lines:
            return self._key(place), found[0], found[1], last
        return self._key(place + 1), b"", None, last

    def _head(self) -> dict[str, Any] | None:
        found = self.storage.read_versioned(_HEAD)
        return None if found is None else _parse_head(found[0], self.storage.url(_HEAD))

    def _move_head(self, line: AuditLine) -> None:
        """Let the head name `line`, unless it names a later one by now."""
        said = {"lines": line.number, "hash": line.hash}
        data = encode({**said, "signature": sign_message(canonical(said))})
        while True:
            found = self.storage.read_versioned(_HEAD)
            if found and _parse_head(found[0], self.storage.url(_HEAD))["lines"] >= line.number:
                return
            try:
                self.storage.compare_and_swap(_HEAD, data, found[1] if found else None)
            except ConflictError:
                continue
            return


def _split(data: bytes, before: int) -> list[bytes]:
    texts = data.split(b"\n")
    if texts.pop():
        raise IntegrityError(
            f"line {before + len(texts) + 1} of the audit log was cut off in its middle; restore the log from"
            " a copy"
        )
    return texts


def _parse_head(data: bytes, name: str) -> dict[str, Any]:
    head = decode(data, name)
    said = {"lines": head.get("lines"), "hash": head.get("hash")}
    signature = head.get("signature")
    if not isinstance(said["lines"], int) or not isinstance(signature, dict | None):
        raise IntegrityError(f"'{name}' was altered: it lacks 'lines'. Restore the audit log from a copy")
    if signature_of(canonical(said), signature).state == "invalid":
        raise IntegrityError(f"'{name}' was altered: its signature does not fit. Restore the audit log")
    return said


def _check_head(
    head: Mapping[str, Any] | None, last: AuditLine | None, at_head: AuditLine | None = None
) -> None:
    """Refuse a log that is shorter than it was, or whose line at the head is another one."""
    if head is None:
        return
    found = last.number if last else 0
    if head["lines"] > found:
        first = found + 1
        which = f"line {first}" if head["lines"] == first else f"lines {first} to {head['lines']}"
        raise _removed(f"{which}, at the end,")
    at_head = last if last and last.number == head["lines"] else at_head
    if at_head and at_head.hash != head["hash"]:
        raise IntegrityError(
            f"line {at_head.number} of the audit log is not the one that was written: '{_HEAD}' has the hash"
            f" {str(head['hash'])[:12]}, found {at_head.hash[:12]}. Restore the log from a copy"
        )


def _check_link(line: AuditLine, number: int, previous: str) -> None:
    if line.number > number:
        gone = f"line {number}" if line.number == number + 1 else f"lines {number} to {line.number - 1}"
        raise _removed(gone)
    if line.number < number:
        raise _moved(line, number)
    if line.previous != previous:
        raise IntegrityError(
            f"line {number} of the audit log does not follow line {number - 1} as it is now: line"
            f" {max(number - 1, 1)} was altered or exchanged. Restore the log from a copy, and find out who"
            " wrote to the store"
        )


def _check_signature(line: AuditLine, state: str, warning: str, signed_before: bool) -> None:
    if state == "invalid":
        raise IntegrityError(
            f"line {line.number} of the audit log was altered: its signature does not fit what it says"
        )
    if not os.environ.get(VERIFY_KEY) or state == "valid":
        return
    if state == "unknown_key" or signed_before:
        found = "is not signed" if state == "unsigned" else f"is not by one of ours. {warning}"
        raise IntegrityError(
            f"line {line.number} of the audit log {found}: {VERIFY_KEY} is set, so do not rely on it"
        )


def _removed(what: str) -> IntegrityError:
    return IntegrityError(
        f"{what} of the audit log {'were' if what.startswith('lines') else 'was'} removed. Restore the log"
        " from a copy, and find out who wrote to the store"
    )


def _moved(line: AuditLine, number: int) -> IntegrityError:
    return IntegrityError(
        f"line {number} of the audit log is a copy of line {line.number}, or was moved. Restore the log from"
        " a copy, and find out who wrote to the store"
    )
