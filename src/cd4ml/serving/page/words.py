"""Numbers and contributions as people read them."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["effect", "label", "number", "scale_note", "shown"]

_FACTORS = ("log(1 + value)", "log")
_LARGE_FACTOR = 3.0


def number(value: float | None) -> str:
    """Return a number with about three digits; "–" for none."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or size == 0 else 3
    text = f"{value:,.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text.replace("-", "−")


def shown(value: Any) -> str:
    """Return a value of a field or a feature."""
    if value is None:
        return "no value"
    if isinstance(value, bool):
        return "yes" if value else "no"
    # An id such as 1047679 or a year is no amount: whole numbers are written without commas.
    if isinstance(value, float) and not value.is_integer():
        return number(value)
    return str(int(value)) if isinstance(value, float) else str(value)


def label(name: str) -> str:
    """Return the name of a field or a feature in words."""
    return name.replace("_", " ").strip() or name


def effect(contribution: float, scale: str) -> str:
    """Return what a contribution does to the prediction, e.g. "+12 %" where it multiplies."""
    if scale in _FACTORS or scale == "log-odds":
        factor = math.exp(min(contribution, 50.0))
        if factor >= _LARGE_FACTOR:
            return f"× {number(factor)}"
        percent = 100 * (factor - 1)
        return f"{_signed(percent, 0 if abs(percent) >= 1 else 1)} %"
    if scale == "probability":
        return f"{_signed(100 * contribution, 1)} points"
    sign = "+" if contribution > 0 else ""
    return sign + number(contribution)


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if text.strip("+−0.") else "±0"


def scale_note(scale: str) -> str:
    """Return how contributions go together."""
    return {
        "log(1 + value)": "They multiply: the forecast plus 1 grows or shrinks by each.",
        "log": "They multiply: the forecast grows or shrinks by each.",
        "log-odds": "They multiply the odds (probability / (1 − probability)).",
        "probability": "They add up to the probability, in percentage points.",
        "value": "They add up to the forecast.",
    }.get(scale, f"They add up on the scale {scale}.")
