"""Waivers: a named person answers for a finding until a day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from cd4ml.problem import Waiver

__all__ = ["covering", "held"]


def covering(waivers: Sequence[Waiver], metric: str, column: str, name: str) -> Waiver | None:
    """Return the waiver that covers a slice, the one that holds longest if there are several, else None."""
    found = [
        waiver
        for waiver in waivers
        if waiver.metric in ("*", metric) and waiver.column == column and waiver.slice in ("*", name)
    ]
    return max(found, key=lambda waiver: waiver.until, default=None)


def held(waiver: Waiver, today: date) -> bool:
    """Return whether the waiver still holds; it does on its last day."""
    return today <= waiver.until
