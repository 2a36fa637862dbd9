"""What a look at a machine or a cluster found, and whether that is enough for a use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

__all__ = ["Answer", "Finding", "Summary", "Use", "fail", "ok", "skipped", "summary", "uses", "warn"]

Status = Literal["ok", "warn", "fail", "skipped"]
Use = Literal["laptop", "containers", "cluster", "ci"]

SETUP, UNREACHABLE = 2, 6
"""Exit codes: something has to be set up; something outside does not answer, and may later."""


@dataclass(frozen=True)
class Answer:
    """What one check came to.

    Attributes
    ----------
    status : str
        "ok"; "warn": it works, but not as well as it could; "fail": not at all; "skipped": nobody looked.
    found, expected, fix : str
        What is there, what should be, and the command or change that mends it; "" where there is nothing
        to say.
    exit_code : int
        For "fail": `SETUP` or `UNREACHABLE`. 0 otherwise.
    """

    status: Status
    found: str
    expected: str = ""
    fix: str = ""
    exit_code: int = 0


@dataclass(frozen=True)
class Finding:
    """An answer and what it is about.

    Attributes
    ----------
    area, name : str
        Such as "store" and "compare-and-swap".
    needed : bool
        The chosen use cannot do without.
    seconds : float
        How long the check took.
    """

    area: str
    name: str
    status: Status
    found: str
    expected: str
    fix: str
    needed: bool
    exit_code: int
    seconds: float

    @classmethod
    def of(cls, area: str, name: str, answer: Answer, needed: bool, seconds: float) -> Finding:
        """Return what a check found."""
        return cls(area, name, needed=needed, seconds=round(seconds, 2), **asdict(answer))

    @property
    def blocks(self) -> bool:
        """It is needed, and is not known to work."""
        return self.needed and self.status in ("fail", "skipped")

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Summary:
    """Whether a use is possible.

    Attributes
    ----------
    blocking : tuple of str
        "area/name" of what is needed and does not work.
    exit_code : int
        0 when nothing blocks, 6 when all that blocks is out of reach for the moment, else 2.
    """

    use: Use
    needed: int
    blocking: tuple[str, ...]
    exit_code: int

    @property
    def sentence(self) -> str:
        """The result in one line."""
        if not self.needed:
            return f"{self.use}: nothing of this is needed for it"
        if not self.blocking:
            return f"{self.use}: all works that it needs ({self.needed})"
        some = ", ".join(self.blocking)
        return f"{self.use}: of {self.needed} things that it needs, these do not work: {some}"


def ok(found: str, expected: str = "") -> Answer:
    """It works."""
    return Answer("ok", found, expected)


def warn(found: str, expected: str = "", fix: str = "") -> Answer:
    """It works, and less well than it could."""
    return Answer("warn", found, expected, fix)


def fail(found: str, expected: str = "", fix: str = "", exit_code: int = SETUP) -> Answer:
    """It does not work."""
    return Answer("fail", found, expected, fix, exit_code)


def skipped(found: str, fix: str = "") -> Answer:
    """Nobody could look."""
    return Answer("skipped", found, "", fix)


def uses() -> Sequence[Use]:
    """Return what a machine can be wanted for."""
    return get_args(Use)


def summary(use: Use, findings: Iterable[Finding]) -> Summary:
    """Return whether all that a use needs works.

    What was skipped though it is needed blocks as well: it is not known to work. It was skipped because
    something else failed, or because nobody said where to look, so it is never a reason for code 6 by itself.
    """
    found = [finding for finding in findings if finding.needed]
    blocking = [finding for finding in found if finding.blocks]
    failed = {finding.exit_code for finding in blocking if finding.status == "fail"}
    code = 0 if not blocking else UNREACHABLE if failed == {UNREACHABLE} else SETUP
    return Summary(use, len(found), tuple(f"{one.area}/{one.name}" for one in blocking), code)
