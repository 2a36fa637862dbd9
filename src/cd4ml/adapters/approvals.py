"""Decisions of people on bundles. They are lines of the audit log, so none can be altered, copied or removed.

Nothing else is kept: what is pending, approved or rejected is read off the log each time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.audit_line import AuditLine
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY
from cd4ml.adapters.storage import Storage
from cd4ml.domain.approval import ApprovalState, Decided, Standing, reminder_due, standing
from cd4ml.errors import IntegrityError, UsageError
from cd4ml.problem import Approval

__all__ = ["APPROVAL", "Approvals", "Request"]

APPROVAL = "approval"
_REQUEST = "approval_request"
_REMINDER = "approval_reminder"


@dataclass(frozen=True)
class Request:
    """A bundle that somebody was asked to decide on.

    Attributes
    ----------
    bundle, model : str
        What it is about.
    asked, reminded : str
        When it was asked for first and last: UTC, ISO 8601; "" when there was no reminder.
    by : str
        Who asked.
    warnings : tuple of str
        The gates that warn.
    state : str
        "pending", "approved", "rejected" or "expired".
    """

    bundle: str
    model: str
    asked: str
    reminded: str
    by: str
    warnings: tuple[str, ...]
    state: ApprovalState = "pending"

    def to_dict(self) -> dict[str, Any]:
        """Return the request as JSON values."""
        names = ("bundle", "model", "asked", "reminded", "by", "state")
        return {**{name: getattr(self, name) for name in names}, "warnings": list(self.warnings)}


class Approvals:
    """Decisions and requests for them, in the audit log of a store.

    Parameters
    ----------
    public_keys : sequence of str, optional
        PEM texts of the keys whose decisions count, instead of those of CD4ML_VERIFY_KEY.
    """

    def __init__(self, storage: Storage, public_keys: Sequence[str] | None = None) -> None:
        self._audit, self._keys = AuditLog(storage), public_keys

    def decide(self, decided: Decided) -> AuditLine:
        """Record a decision on a bundle and return its line; the last one counts.

        Raises
        ------
        IntegrityError
            If the log was altered.
        UsageError
            If CD4ML_VERIFY_KEY asks for signatures that this process cannot give.
        """
        if os.environ.get(VERIFY_KEY) and not os.environ.get(SIGNING_KEY):
            raise UsageError(
                f"{VERIFY_KEY} is set, so an unsigned decision would not count; set {SIGNING_KEY} to your key"
            )
        bundle = _check(decided.bundle)
        return self._audit.append(APPROVAL, bundle, decided.to_dict(), decided.at, decided.by)

    def records(self, bundle: str) -> list[Decided]:
        """Return all decisions on a bundle, the first one first.

        Raises
        ------
        IntegrityError
            If the log was altered, or a decision is not by a key of CD4ML_VERIFY_KEY where that is set.
        """
        _check(bundle)
        lines = self._audit.lines()
        return [_decided(line, self._keys) for line in lines if _is(line, APPROVAL, bundle)]

    def lines(self, bundle: str) -> list[AuditLine]:
        """Return the lines of all decisions on a bundle, as they stand in the log."""
        return [line for line in self._audit.lines() if _is(line, APPROVAL, _check(bundle))]

    def standing(self, bundle: str, now: datetime, policy: Approval) -> Standing:
        """Return whether a bundle is approved now; see `cd4ml.domain.approval.standing`."""
        return standing(self.records(bundle), bundle, now, policy)

    def ask(
        self,
        bundle: str,
        *,
        model: str,
        now: datetime,
        policy: Approval,
        warnings: Sequence[str] = (),
        by: str = "",
    ) -> bool:
        """Ask for a decision on a bundle, or again after `remind_days`; return whether it was asked now."""
        asked = [line for line in self._audit.lines() if _is(line, (_REQUEST, _REMINDER), _check(bundle))]
        if asked and not reminder_due(datetime.fromisoformat(asked[-1].at), now, policy):
            return False
        facts = {"model": model, "warnings": list(warnings)}
        self._audit.append(_REMINDER if asked else _REQUEST, bundle, facts, now, by)
        return True

    def requests(self, now: datetime) -> list[Request]:
        """Return all requests with what became of them, the oldest first."""
        found: dict[str, Request] = {}
        decisions: dict[str, list[Decided]] = {}
        for line in self._audit.lines():
            if line.kind == _REQUEST and line.subject not in found:
                facts = line.facts
                found[line.subject] = Request(
                    line.subject, str(facts["model"]), line.at, "", line.by, tuple(facts["warnings"])
                )
            elif line.kind == _REMINDER and line.subject in found:
                found[line.subject] = replace(found[line.subject], reminded=line.at)
            elif line.kind == APPROVAL:
                decisions.setdefault(line.subject, []).append(_decided(line, self._keys))
        return [
            replace(request, state=standing(decisions.get(bundle, []), bundle, now).state)
            for bundle, request in found.items()
        ]


def _is(line: AuditLine, kinds: str | tuple[str, ...], bundle: str) -> bool:
    return line.kind in ((kinds,) if isinstance(kinds, str) else kinds) and line.subject == bundle


def _decided(line: AuditLine, public_keys: Sequence[str] | None = None) -> Decided:
    """Return the decision in a line; one without a signature that counts is refused."""
    signature = line.signed_by(public_keys)
    configured = os.environ.get(VERIFY_KEY) if public_keys is None else public_keys
    if signature.state == "invalid":
        raise IntegrityError(
            f"the decision in line {line.number} of the audit log was altered: its signature does not fit"
        )
    if configured and signature.state != "valid":
        whose = (
            "unsigned" if signature.state == "unsigned" else f"by the key {signature.key_id}, not one of ours"
        )
        raise IntegrityError(
            f"the decision in line {line.number} of the audit log is {whose}, and {VERIFY_KEY} is set: it"
            " does not count. Decide again with our key"
        )
    return Decided.from_dict(line.facts)


def _check(bundle: str) -> str:
    if len(bundle) != 64 or set(bundle) - set("0123456789abcdef"):
        raise UsageError(f"a bundle's id has 64 hexadecimal digits; got {bundle!r}")
    return bundle
