"""A person's decision on a bundle: whether it stands, for which bundle, and until when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from cd4ml.errors import IntegrityError, UsageError
from cd4ml.problem import Approval

__all__ = ["ApprovalState", "Choice", "Decided", "Standing", "reminder_due", "standing"]

Choice = Literal["approve", "reject"]
ApprovalState = Literal["pending", "approved", "rejected", "expired"]

_CLOCKS_APART = timedelta(hours=1)
"""How far ahead of ours the clock of an approver may be."""


@dataclass(frozen=True)
class Decided:
    """One decision of one person on one bundle.

    Attributes
    ----------
    bundle : str
        Id of the bundle, 64 hexadecimal digits: it stands for every byte.
    model, choice, by, reason : str
        Which model's, "approve" or "reject", who and why.
    at, until : datetime
        With zone. An approval holds through `until`; a rejection until somebody approves.
    verdict : str
        What the judge had said: "accept", "needs_approval", ...
    warnings : tuple of str
        The gates that had warned: what the person answers for.
    """

    bundle: str
    model: str
    choice: Choice
    by: str
    reason: str
    at: datetime
    until: datetime
    verdict: str = ""
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what nobody could answer for."""
        if self.choice not in get_args(Choice):
            raise UsageError(f"a decision must be approve or reject; got '{self.choice}'")
        if not self.by.strip():
            raise UsageError("a decision needs who decided; say --by NAME, or set CD4ML_ACTOR")
        if not self.reason.strip():
            raise UsageError("a decision needs a reason; say --reason TEXT")
        if self.at.tzinfo is None or self.until.tzinfo is None:
            raise UsageError("the times of a decision need their zone")

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON values."""
        times = {name: getattr(self, name).isoformat(timespec="seconds") for name in ("at", "until")}
        return {**asdict(self), **times, "warnings": list(self.warnings)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Decided:
        """Return the decision that `to_dict` wrote; IntegrityError when it is none."""
        try:
            times = {name: datetime.fromisoformat(value[name]) for name in ("at", "until")}
            return cls(**{**value, **times, "warnings": tuple(value["warnings"])})
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"this is no decision on a bundle ({error}); decide again") from error


@dataclass(frozen=True)
class Standing:
    """What the decisions on a bundle come to.

    Attributes
    ----------
    decision : Decided or None
        The one that counts; None while there is none.
    reason : str
        One sentence.
    """

    state: ApprovalState
    decision: Decided | None
    reason: str


def standing(
    records: Sequence[Decided], bundle: str, now: datetime, policy: Approval | None = None
) -> Standing:
    """Return whether a bundle is approved now: its last decision counts.

    Parameters
    ----------
    records : sequence of Decided
        All decisions on `bundle`, in the order in which they were recorded.
    policy : Approval, optional
        An approval ends at its own end, or `valid_days` after it was given when that is earlier.

    Raises
    ------
    IntegrityError
        If a decision is on another bundle: it was copied. Or if it comes from the future.
    """
    short = bundle[:12]
    for record in records:
        _check(record, bundle, now)
    if not records:
        return Standing("pending", None, f"nobody has decided on the bundle {short}")
    last = records[-1]
    who = f"by {last.by} on {last.at:%Y-%m-%d} ({last.reason})"
    if last.choice == "reject":
        return Standing("rejected", last, f"the bundle {short} was rejected {who}")
    end = min(last.until, last.at + timedelta(days=policy.valid_days)) if policy else last.until
    if now > end:
        expired = f"the approval of the bundle {short} expired on {end:%Y-%m-%d %H:%M %Z}; it was given {who}"
        return Standing("expired", last, expired)
    return Standing("approved", last, f"the bundle {short} was approved {who}, until {end:%Y-%m-%d}")


def reminder_due(asked: datetime, now: datetime, policy: Approval) -> bool:
    """Tell whether somebody should be asked again: `remind_days` after he was asked last."""
    return now - asked >= timedelta(days=policy.remind_days)


def _check(record: Decided, bundle: str, now: datetime) -> None:
    if record.bundle != bundle:
        raise IntegrityError(
            f"the decision of {record.by} is on the bundle {record.bundle[:12]} and not on {bundle[:12]}: a"
            " decision belongs to one bundle. Decide on this bundle"
        )
    if record.at > now + _CLOCKS_APART:
        raise IntegrityError(
            f"the decision of {record.by} on the bundle {bundle[:12]} is from {record.at:%Y-%m-%d %H:%M %Z},"
            " which is still to come: set the clocks right and decide again"
        )
