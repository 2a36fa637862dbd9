"""Contrast of the pages' colours, by WCAG 2.2 (success criteria 1.4.3 and 1.4.11)."""

from __future__ import annotations

import re
from importlib import resources

import pytest

STYLE = resources.files("cd4ml.reports").joinpath("templates/style.css").read_text(encoding="utf-8")
LIGHT, DARK = (
    dict(re.findall(r"--([a-z0-9]+):(#[0-9a-fA-F]+)", part)) for part in STYLE.split("@media (prefers")[:2]
)
TEXT = [
    *((ink, back) for ink in ("ink", "muted", "link") for back in ("paper", "card")),
    *((f"c{index}", "paper") for index in range(6)),
    *((status, f"{status}back") for status in ("pass", "fail", "warn", "skip")),
]
MARKS = [*((f"m{index}", "paper") for index in range(2)), ("ink", "allowed"), ("ink", "track")]


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(letter * 2 for letter in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_has_the_known_contrast() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.478, abs=1e-3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "back", "least"), [(*pair, 4.5) for pair in TEXT] + [(*pair, 3.0) for pair in MARKS]
)
def test_texts_and_marks_stand_out_from_their_background(
    scheme: str, ink: str, back: str, least: float
) -> None:
    colours = {"light": LIGHT, "dark": {**LIGHT, **DARK}}[scheme]
    assert contrast(colours[ink], colours[back]) >= least


def test_the_dark_scheme_has_every_colour_of_its_own() -> None:
    assert set(LIGHT) == set(DARK)
