"""The form of any contract: one control for each field, and the row that a filled-in form stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cd4ml.serving.page.endpoint import Known, Refused
from cd4ml.serving.page.markup import Markup, join, tag
from cd4ml.serving.page.words import label

__all__ = ["Filled", "defaults", "read_row", "render_form"]

LISTED = 50
"""Of so many known values all are in the page; of more the list is asked for while somebody types."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_MOST_TEXT = 500
_TRUTH = {"true": True, "false": False}
_TIMES = {"date": "date", "timestamp": "datetime-local"}
Choice = Mapping[str, Any]


@dataclass(frozen=True)
class Filled:
    """What stands in the form.

    Attributes
    ----------
    values : mapping
        Field -> text.
    choices : mapping
        Field -> the first known values.
    refused : Refused or None
        What the endpoint did not take.
    """

    values: Mapping[str, str]
    choices: Mapping[str, Sequence[Choice]] = field(default_factory=dict)
    refused: Refused | None = None


def _inputs(known: Known) -> Mapping[str, Mapping[str, Any]]:
    fields: Mapping[str, Mapping[str, Any]] = known.contract["inputs"]["properties"]
    return fields


def defaults(known: Known) -> dict[str, str]:
    """Return what stands in an empty form: the first time after the history."""
    time = known.time or {}
    name, after = time.get("field"), str(time.get("next", ""))
    field = _inputs(known).get(str(name))
    if field is None or not after:
        return {}
    return {str(name): _time(field["kind"], after)}


def _time(kind: str, text: str) -> str:
    """Return a time as its control has it: a date alone is its midnight."""
    return text[:10] if kind == "date" else f"{text[:10]}T{text[11:16] or '00:00'}"


def read_row(known: Known, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the row of a form that was sent.

    What cannot be read as the field's kind stays the text that it is: the endpoint says what is allowed. An
    empty field is null where null is allowed, and left out where it is not.
    """
    row: dict[str, Any] = {}
    for name, about in _inputs(known).items():
        text = given.get(name, "").strip()[:_MOST_TEXT]
        if about["kind"] == "boolean" and not about["nullable"]:
            row[name] = _TRUTH.get(text, text) if text else False  # what is not ticked is not sent
        elif text:
            row[name] = _value(about["kind"], text)
        elif about["nullable"]:
            row[name] = None
    return row


def _value(kind: str, text: str) -> Any:
    if kind == "boolean":
        return _TRUTH.get(text, text)
    if kind in ("integer", "number") and _NUMBER.fullmatch(text):
        plain = re.fullmatch(r"[+-]?\d+", text, re.ASCII)
        return int(text) if plain else float(text)
    return text


def render_form(known: Known, filled: Filled) -> Markup:
    """Return the form; the field that was refused says why, and has the focus."""
    controls = []
    required = [name for name, about in _inputs(known).items() if not about["nullable"]]
    order = sorted(_inputs(known), key=lambda name: name not in required)
    refused = filled.refused
    for name in order:
        error = _said(refused) if refused is not None and refused.field == name else ""
        controls.append(_field(name, _inputs(known)[name], known, filled, error))
    general = ""
    if refused is not None and refused.field not in _inputs(known):
        general = tag("p", str(refused), class_="error", role="alert")
    button = tag("button", "Forecast", type="submit", class_="main")
    return tag(
        "form", general, *controls, button, action="/forecast", method="get", id="ask", novalidate=True
    )


def _said(refused: Refused) -> str:
    if not refused.allowed:
        return str(refused)
    return f"It must be {refused.allowed}; found {refused.found}."


def _field(name: str, about: Mapping[str, Any], known: Known, filled: Filled, error: str) -> Markup:
    hint = _hint(about)
    described = " ".join(
        part for part in (f"hint-{name}" * bool(hint), f"error-{name}" * bool(error)) if part
    )
    common: dict[str, Any] = {
        "id": f"field-{name}",
        "name": name,
        "aria_describedby": described or None,
        "aria_invalid": "true" if error else None,
        "autofocus": bool(error),
    }
    value = filled.values.get(name, "")
    tick = about["kind"] == "boolean" and not about["nullable"]
    control = _control(name, about, value, known, filled.choices.get(name, ()), common)
    named = tag("label", label(name), for_=f"field-{name}")
    parts = [tag("span", control, named, class_="tick")] if tick else [named, control]
    return tag(
        "div",
        *parts,
        tag("p", hint, class_="hint", id=f"hint-{name}") if hint else "",
        tag("p", error, class_="error", id=f"error-{name}") if error else "",
        class_="field wrong" if error else "field",
    )


def _hint(about: Mapping[str, Any]) -> str:
    words = [str(about["description"])] if about.get("description") else []
    low, high = about.get("minimum"), about.get("maximum")
    if low is not None and high is not None:
        words.append(f"from {low:g} to {high:g}")
    if about["nullable"] and about["kind"] != "boolean" and "enum" not in about:
        words.append("may be empty")
    return "; ".join(words)


def _control(
    name: str,
    about: Mapping[str, Any],
    value: str,
    known: Known,
    choices: Sequence[Choice],
    common: Mapping[str, Any],
) -> Markup:
    kind, required = about["kind"], not about["nullable"]
    if kind == "boolean":
        if required:
            return tag("input", type="checkbox", value="true", checked=value == "true", **common)
        options = [("", "not known"), ("true", "yes"), ("false", "no")]
        return _select(options, value, common)
    if "enum" in about:
        options = [(str(one), str(one)) for one in about["enum"] if one is not None]
        first = ("", "choose" if required else "no value")
        return _select([first, *options], value, {**common, "required": required})
    common = {**common, "value": value, "required": required, "autocomplete": "off"}
    if kind in _TIMES:
        ends = {"min": about.get("formatMinimum"), "max": about.get("formatMaximum")}
        known_ends = {name: _time(kind, str(end)) for name, end in ends.items() if end is not None}
        return tag("input", type=_TIMES[kind], **known_ends, **common)
    if known.choices.get(name):
        return _combobox(name, about, known.choices[name], choices, common)
    return _plain(about, common)


def _plain(about: Mapping[str, Any], common: Mapping[str, Any]) -> Markup:
    if about["kind"] not in ("integer", "number"):
        return tag("input", type="text", **common)
    step = 1 if about["kind"] == "integer" else "any"
    ends = {"min": about.get("minimum"), "max": about.get("maximum")}
    return tag("input", type="number", step=step, inputmode="decimal", **ends, **common)


def _select(options: Sequence[tuple[str, str]], value: str, common: Mapping[str, Any]) -> Markup:
    made = [tag("option", words, value=text, selected=text == value) for text, words in options]
    return tag("select", *made, **common)


def _combobox(
    name: str, about: Mapping[str, Any], count: int, choices: Sequence[Choice], common: Mapping[str, Any]
) -> Markup:
    """Return a text field with suggestions: values that the list lacks can be typed all the same."""
    options = [tag("option", one.get("about") or "", value=str(one["value"])) for one in choices]
    mode = "numeric" if about["kind"] == "integer" else None
    typed = {"type": "text", "list": f"list-{name}", "inputmode": mode, "data_choices": count > LISTED}
    hint = f"{count} known; type to search" if count > LISTED else None
    return join(
        tag("input", placeholder=hint, **typed, **common), tag("datalist", *options, id=f"list-{name}")
    )
