"""One line of the audit log: what it says, whose it is, and the hash by which the next line knows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cd4ml.adapters.signing import Signature, sign_message, signature_of
from cd4ml.adapters.storage.hashing import sha256_bytes
from cd4ml.errors import IntegrityError, MetricError, UsageError

__all__ = ["FIRST", "AuditLine", "canonical", "new_line", "parse_line"]

FIRST = "0" * 64
"""What the first line has as the hash of the line before it."""

_TEXTS = ("at", "by", "hash", "kind", "previous", "subject")


@dataclass(frozen=True)
class AuditLine:
    """One entry.

    Attributes
    ----------
    number : int
        Counted from 1 over the whole log.
    at : str
        UTC, ISO 8601.
    by : str
        Who; "" when nobody said.
    kind, subject : str
        What happened ("approval", "alias", "holdout_look", ...) and to what: a bundle, a model, a holdout.
    facts : dict
        What belongs to the kind.
    previous : str
        The hash of the line before.
    signature : dict or None
        Over all of the above.
    hash : str
        SHA-256 over all of the above, the signature too.
    """

    number: int
    at: str
    by: str
    kind: str
    subject: str
    facts: dict[str, Any]
    previous: str
    signature: dict[str, str] | None
    hash: str

    def to_dict(self) -> dict[str, Any]:
        """Return the line as JSON values."""
        return {**self._said(), "signature": self.signature, "hash": self.hash}

    def to_bytes(self) -> bytes:
        """Return the line as it stands in the log, with its end."""
        return canonical(self.to_dict()) + b"\n"

    def _said(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "at": self.at,
            "by": self.by,
            "kind": self.kind,
            "subject": self.subject,
            "facts": self.facts,
            "previous": self.previous,
        }

    def own_hash(self) -> str:
        """Return the hash that the line should have."""
        return sha256_bytes(canonical({**self._said(), "signature": self.signature}))

    def signed_by(self, public_keys: Sequence[str] | None = None) -> Signature:
        """Return what its signature is worth under `public_keys`, or those of CD4ML_VERIFY_KEY."""
        return signature_of(canonical(self._said()), self.signature, public_keys)


def canonical(value: Mapping[str, Any]) -> bytes:
    """Return JSON in one line with sorted keys, which is what is signed: the same value, the same bytes."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        return text.encode()
    except ValueError as error:
        raise MetricError(
            f"a record must hold finite numbers and valid text ({error}); write null"
        ) from error
    except TypeError as error:
        raise UsageError(f"a record must be JSON (str, number, bool, null, list, dict): {error}") from error


def new_line(
    before: AuditLine | None, kind: str, subject: str, facts: Mapping[str, Any], now: datetime, by: str
) -> AuditLine:
    """Return the line that follows `before`, signed when CD4ML_SIGNING_KEY is set.

    Raises
    ------
    UsageError
        If kind or subject is empty, the facts are no JSON, or the time has no zone.
    """
    if not kind or not subject:
        raise UsageError("a line of the audit log needs a kind and a subject; one of them is empty")
    if now.tzinfo is None:
        raise UsageError(f"a line of the audit log needs a time with its zone; got {now.isoformat()}")
    number, previous = (before.number + 1, before.hash) if before else (1, FIRST)
    kept = json.loads(canonical(facts))  # as it will be read
    at = now.isoformat(timespec="seconds")
    bare = AuditLine(number, at, by, kind, subject, kept, previous, None, "")
    signature = sign_message(canonical(bare._said()))
    signed = AuditLine(number, at, by, kind, subject, kept, previous, signature, "")
    return AuditLine(number, at, by, kind, subject, kept, previous, signature, signed.own_hash())


def parse_line(text: bytes, number: int) -> AuditLine:
    """Return the line in `text`, without its end.

    Raises
    ------
    IntegrityError
        If it is not to the byte what `new_line` made, whatever its number; `number` is where it stands.
    """
    try:
        found = json.loads(text)
        line = AuditLine(**found)
        sound = line.own_hash() == line.hash and canonical(found) == text
        sound = sound and isinstance(line.facts, dict) and isinstance(line.number, int)
        sound = sound and all(isinstance(getattr(line, name), str) for name in _TEXTS)
    except (ValueError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise IntegrityError(
            f"line {number} of the audit log was altered: it is not what its hash says. Restore the log"
            " from a copy, and find out who wrote to the store"
        )
    return line
