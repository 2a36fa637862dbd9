"""Formulas of the documentation as MathML, which browsers draw without a script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

__all__ = ["mathml"]

_WORD = re.compile(r"\\[a-zA-Z]+|\\.|\d+(?:\.\d+)?|[a-zA-Z]|\S")
_LETTERS = {"alpha": "α", "beta": "β", "lambda": "λ", "mu": "μ", "pi": "π", "sigma": "σ"}
_OPERATORS = {"\\cdot": "·", "\\times": "×", "\\le": "≤", "\\ge": "≥", "-": "−"}
_FUNCTIONS = ("cos", "exp", "ln", "log", "max", "min", "sin")
_SPACES = {"\\,": "0.17em", "\\ ": "0.3em", "\\!": "-0.17em"}
_SCRIPTS = {"^": "msup", "_": "msub"}
_FIXED = {
    **{f"\\{name}": f"<mi>{letter}</mi>" for name, letter in _LETTERS.items()},
    **{word: f"<mo>{sign}</mo>" for word, sign in _OPERATORS.items()},
    **{f"\\{name}": f"<mi>{name}</mi><mspace width='0.17em'/>" for name in _FUNCTIONS},
    **{word: f"<mspace width='{width}'/>" for word, width in _SPACES.items()},
    "\\left": "",
    "\\right": "",
}


def mathml(tex: str, display: bool = False) -> str:
    """Return a formula as a MathML element.

    Raises
    ------
    ValueError
        If it has a command that is not among those known here, or a brace without its other one.
    """
    body = "".join(_row(iter(_WORD.findall(tex)), None))
    return f'<math display="{"block" if display else "inline"}"><mrow>{body}</mrow></math>'


def _row(words: Iterator[str], end: str | None) -> list[str]:
    """Return the elements up to the word `end`, scripts hung on the element before them."""
    parts: list[str] = []
    for word in words:
        if word == end:
            return parts
        if word in _SCRIPTS:
            base = parts.pop() if parts else "<mrow></mrow>"
            parts.append(f"<{_SCRIPTS[word]}>{base}{_one(next(words), words)}</{_SCRIPTS[word]}>")
        else:
            parts.append(_one(word, words))
    if end is not None:
        raise ValueError(f"a formula lacks a '{end}'")
    return parts


def _one(word: str, words: Iterator[str]) -> str:
    """Return the element that begins with a word."""
    if word == "{":
        return f"<mrow>{''.join(_row(words, '}'))}</mrow>"
    if word == "\\sqrt":
        return f"<msqrt>{_one(next(words), words)}</msqrt>"
    if word == "\\mathrm":
        return f'<mi mathvariant="normal">{_letters(words)}</mi>'
    if word in _FIXED:
        return _FIXED[word]
    if word.startswith("\\"):
        raise ValueError(f"formulas know no '{word}'; add it to scripts/site_math.py")
    kind = "mn" if word[0].isdigit() else "mi" if word.isalpha() else "mo"
    return f"<{kind}>{escape(word)}</{kind}>"


def _letters(words: Iterator[str]) -> str:
    """Return what stands between braces, as it stands."""
    if next(words) != "{":
        raise ValueError("\\mathrm needs braces")
    return "".join(iter(lambda: next(words), "}"))
