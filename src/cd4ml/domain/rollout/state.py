"""Where a rollout stands, as a value that can be written down and read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from cd4ml.errors import IntegrityError

__all__ = ["FINAL", "Entry", "Phase", "Rollout", "Target"]


class Phase(StrEnum):
    """What a rollout is doing."""

    VERIFY = "verify"
    """The candidate runs without traffic and replays its holdout."""
    SHADOW = "shadow"
    """It gets a copy of requests; nobody sees its answers."""
    CANARY = "canary"
    """It answers a share of the requests."""
    APPROVAL = "approval"
    """All is proven; a person has to say yes."""
    WATCH = "watch"
    """It answers all; late outcomes can still take it back."""
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"


FINAL = frozenset({Phase.PROMOTED, Phase.ROLLED_BACK, Phase.ABORTED})
"""Phases in which nothing happens any more."""


@dataclass(frozen=True)
class Target:
    """A version of a model that can be served.

    Attributes
    ----------
    version : str
        As the registry numbers it.
    bundle : str
        The id of its bundle.
    location : str
        Where its files are.
    history : str
        Where its history table is; "" for the one in the bundle.
    """

    reference: str
    version: str
    bundle: str
    location: str = ""
    history: str = ""


@dataclass(frozen=True)
class Entry:
    """One step of a rollout's history.

    Attributes
    ----------
    at_seconds : float
        Since 1970, by the clock of who decided.
    phase : Phase
        What it went into.
    canary_percent : float
        The candidate's share of the answers from then on.
    by : str
        "controller", or the person.
    reasons : tuple of str
        Why, one line each.
    """

    at_seconds: float
    phase: Phase
    canary_percent: float
    by: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Rollout:
    """A rollout.

    Attributes
    ----------
    id : str
        Names it for ever.
    service : str
        The endpoint.
    candidate, stable : Target
        What is rolled out, and what it is to replace and falls back to.
    phase : Phase
        What it is doing.
    step : int
        Which of the policy's canary percentages holds, from 0; meaningful in phase CANARY.
    elapsed_seconds : float
        Time in this step during which somebody looked; a clock that jumps does not count.
    seen_at_seconds : float
        When somebody looked last, since 1970; 0 for never.
    converged_at_seconds : float
        When the plane first was as this step wants it, since 1970; 0 for not yet. What came before belongs
        to another step.
    paused : str
        Why nothing goes on until somebody resumes; "" when it does.
    waiting : tuple of str
        What the last look was waiting for.
    approved_by : str
        Who said yes; "" for nobody.
    commands_taken : int
        How many commands of people were taken up.
    history : tuple of Entry
        The oldest first.
    model : str
        The model of the registry whose champion follows the rollout; "" for none.
    """

    id: str
    service: str
    candidate: Target
    stable: Target
    phase: Phase = Phase.VERIFY
    step: int = 0
    elapsed_seconds: float = 0.0
    seen_at_seconds: float = 0.0
    converged_at_seconds: float = 0.0
    paused: str = ""
    waiting: tuple[str, ...] = ()
    approved_by: str = ""
    commands_taken: int = 0
    history: tuple[Entry, ...] = ()
    model: str = ""

    @property
    def ended(self) -> bool:
        """Nothing happens any more."""
        return self.phase in FINAL

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Rollout:
        """Return what `to_dict` wrote; raises IntegrityError for anything else."""
        try:
            values = {field.name: document[field.name] for field in fields(cls)}
            values["candidate"] = Target(**values["candidate"])
            values["stable"] = Target(**values["stable"])
            values["phase"] = Phase(values["phase"])
            values["waiting"] = tuple(values["waiting"])
            values["history"] = tuple(_entry(one) for one in values["history"])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"this is no rollout as cd4ml writes them: {error!r}") from error


def _entry(document: Mapping[str, Any]) -> Entry:
    return Entry(
        at_seconds=document["at_seconds"],
        phase=Phase(document["phase"]),
        canary_percent=document["canary_percent"],
        by=document["by"],
        reasons=tuple(document["reasons"]),
    )
