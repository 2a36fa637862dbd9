"""The pages as HTML: the form, a forecast with its reasons, and the decision about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cd4ml.serving.page.decisions import Decision
from cd4ml.serving.page.endpoint import Forecast, Known
from cd4ml.serving.page.form import Filled, render_form
from cd4ml.serving.page.markup import Content, Markup, join, tag
from cd4ml.serving.page.plot import bar, history_plot
from cd4ml.serving.page.words import effect, label, number, scale_note, shown

__all__ = ["Deciding", "message_page", "page"]

_SHOWN_CONTRIBUTIONS = 8
_MOST_REASON = 500


class Deciding:
    """What is known of the decision about a forecast.

    Parameters
    ----------
    possible : bool
        Whether decisions are recorded here.
    made : Decision or None
    value, reason : str
        What stands in the form.
    error : str
        What is wrong with the number; "" for nothing.
    notice : str
        What happened, e.g. that somebody decided before.
    """

    def __init__(
        self,
        possible: bool,
        made: Decision | None = None,
        *,
        value: str = "",
        reason: str = "",
        error: str = "",
        notice: str = "",
    ) -> None:
        self.possible, self.made = possible, made
        self.value, self.reason, self.error, self.notice = value, reason, error, notice


def page(
    known: Known, filled: Filled, forecast: Forecast | None = None, deciding: Deciding | None = None
) -> str:
    """Return the whole page; without a forecast the form alone."""
    title = f"Forecast of {label(known.target)}"
    said = "" if forecast is None else _sentence(forecast)
    if filled.refused is not None:
        said = f"Not forecast: {filled.refused}"
    result = tag("p", "Fill in the form and ask for a forecast.", class_="muted")
    if filled.refused is not None:
        result = tag("p", "Mend the form to get a forecast.", class_="muted")
    if forecast is not None:
        result = join(
            _answer(forecast, filled), *_reasons(forecast), _decision(forecast, deciding or Deciding(False))
        )
    main = tag(
        "main",
        tag("section", tag("h2", "What to forecast"), render_form(known, filled), class_="asked"),
        tag("div", result, id="result", class_="result"),
        id="content",
    )
    return _document(title, known.contract["problem"], main, said)


def message_page(title: str, text: str) -> str:
    """Return a page that says one thing, e.g. what failed."""
    back = tag("p", tag("a", "Back to the form", href="/"))
    main = tag("main", tag("section", tag("p", text, class_="error", role="alert"), back), id="content")
    return _document(title, "", main, "")


def _document(title: str, kicker: str, main: Markup, said: str) -> str:
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("link", rel="stylesheet", href="/page.css"),
        tag("script", src="/page.js", defer=True),
    )
    body = tag(
        "body",
        tag("a", "To the content", href="#content", class_="skip"),
        tag("header", tag("p", kicker, class_="muted") if kicker else "", tag("h1", title)),
        # Below the script's hand the region is empty: what is there when a page comes is not read out.
        tag("p", id="said", role="status", class_="said", data_said=said),
        main,
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en")


def _sentence(forecast: Forecast) -> str:
    text = f"The forecast is {number(forecast.prediction)}"
    if (interval := forecast.interval) is not None:
        text += f", with an interval from {number(interval['low'])} to {number(interval['high'])}"
    return text + "."


def _row(forecast: Forecast, filled: Filled) -> str:
    """Return what was asked, with what is known of each value."""
    said = []
    for name, value in forecast.row.items():
        if value is not None:
            about = [one.get("about") for one in filled.choices.get(name, ()) if one.get("value") == value]
            said.append(f"{label(name)} {shown(value)}" + (f" ({about[0]})" if about and about[0] else ""))
    return ", ".join(said)


def _answer(forecast: Forecast, filled: Filled) -> Markup:
    interval = forecast.interval
    between: Content = ""
    if interval is not None:
        level = f"{interval['level']:.0%}".replace("%", " %")
        between = tag(
            "p",
            tag("strong", f"{number(interval['low'])} to {number(interval['high'])}"),
            f": {level} of the values lay this near to such forecasts in the weeks on which the model was"
            " judged. Weeks that are unlike those keep no such promise.",
            class_="interval",
        )
    facts = [("Model", forecast.model), ("Version", forecast.version), ("Variant", forecast.variant)]
    more = {"quantile": "Quantile to order", "decision": "Called"}
    facts += [(more[name], number(forecast.outputs[name])) for name in more if name in forecast.outputs]
    facts.append(("Request", forecast.id))
    listed = [tag("div", tag("dt", name), tag("dd", said or "–")) for name, said in facts]
    strange = [_strange(item) for item in forecast.unknown]
    return tag(
        "section",
        tag("h2", "Forecast", id="answer", tabindex="-1"),
        tag(
            "p", number(forecast.prediction), " ", tag("small", label(forecast.known.target)), class_="number"
        ),
        tag("p", _row(forecast, filled), class_="muted"),
        between,
        *strange,
        tag("dl", *listed, class_="facts"),
    )


def _strange(item: Mapping[str, Any]) -> Markup:
    values = ", ".join(str(value) for value in item.get("values", ()))
    text = f"{label(str(item.get('field', '')))}: the model does not know {values} and takes it for "
    return tag("p", text + f"{item.get('treated_as', 'another one')}.", class_="warn")


def _reasons(forecast: Forecast) -> list[Markup]:
    why = forecast.why
    if why is None:
        return [tag("section", tag("h2", "Why"), tag("p", f"{_capital(forecast.silent)}.", class_="muted"))]
    return [_weeks(forecast, why), _contributions(forecast, why)]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _absent(title: str, why: Mapping[str, Any], name: str) -> Markup:
    said = _capital(str(why.get("absent", {}).get(name) or "this endpoint does not tell"))
    return tag(
        "section",
        tag("h2", title),
        tag("p", f"{said}.", class_="muted"),
        class_="why" if title == "Why" else None,
    )


def _weeks(forecast: Forecast, why: Mapping[str, Any]) -> Markup:
    history = why.get("history")
    if not history or not history["times"]:
        return _absent("The last weeks", why, "history")
    when = str(forecast.row.get(str((forecast.known.time or {}).get("field")), "") or "")
    plot = history_plot(history, when, forecast.prediction, forecast.interval)
    pairs = list(zip(history["times"], history["values"], strict=True))
    rows = [[time.replace("T", " "), number(value)] for time, value in reversed(pairs)]
    table = _table(("when", label(history["of"])), rows, "The last weeks as a table")
    folded = tag("details", tag("summary", "The same as a table"), table)
    return tag("section", tag("h2", "The last weeks"), tag("figure", plot), folded)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], name: str) -> Markup:
    top = tag("thead", tag("tr", *[tag("th", text, scope="col") for text in head]))
    made = [tag("tr", tag("th", row[0], scope="row"), *[tag("td", text) for text in row[1:]]) for row in rows]
    table = tag("table", tag("caption", name), top, tag("tbody", *made))
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=name)


def _contributions(forecast: Forecast, why: Mapping[str, Any]) -> Markup:
    found, scale = why.get("contributions"), forecast.scale or "value"
    if not found:
        return _absent("Why", why, "contributions")
    ranked = sorted(found, key=lambda one: -abs(one["contribution"]))
    leading = [one for one in ranked[:_SHOWN_CONTRIBUTIONS] if one["contribution"]]
    rest = ranked[len(leading) :]
    largest = max((abs(one["contribution"]) for one in leading), default=1.0) or 1.0
    items = [
        _item(
            f"{label(str(one.get('about') or one['feature']))}: {shown(one['value'])}",
            one["contribution"],
            scale,
            largest,
        )
        for one in leading
    ]
    if rest:
        total = sum(one["contribution"] for one in rest)
        items.append(_item(f"{len(rest)} others together", total, scale, largest))
    start = f"A typical forecast is {number(why.get('typical'))}. " if why.get("typical") is not None else ""
    return tag(
        "section",
        tag("h2", "Why"),
        tag("p", f"{start}These move this one away from it. {scale_note(scale)}", class_="muted"),
        tag("ul", *items, class_="bars"),
        class_="why",
    )


def _item(name: str, contribution: float, scale: str, largest: float) -> Markup:
    words = tag("strong", effect(contribution, scale))
    return tag("li", tag("span", name, class_="what"), words, bar(contribution / largest))


def _decision(forecast: Forecast, deciding: Deciding) -> Markup:
    title = tag("h2", "Decision", id="decision", tabindex="-1")
    notice = tag("p", deciding.notice, class_="warn", role="alert") if deciding.notice else ""
    if deciding.made is not None:
        return tag("section", title, notice, _made(deciding.made))
    if not deciding.possible:
        text = "Decisions are not recorded here: the page was started without a folder for them."
        return tag("section", title, notice, tag("p", text, class_="muted"))
    return tag("section", title, notice, _accept(forecast), _override(forecast, deciding))


def _made(decision: Decision) -> Markup:
    when = decision.time.replace("T", " ").replace("Z", " UTC")
    if decision.decision == "accepted":
        text = f"Accepted: {number(decision.value)}."
    else:
        text = f"Overridden: {number(decision.value)} in place of {number(decision.output['prediction'])}."
    return join(
        tag("p", text, class_="done"),
        tag("p", f"Reason: {decision.reason}") if decision.reason else "",
        tag("p", f"Recorded at {when} for request {decision.id}.", class_="muted"),
        tag("p", tag("a", "Another forecast", href="/")),
    )


def _accept(forecast: Forecast) -> Markup:
    return tag(
        "form",
        tag("input", type="hidden", name="id", value=forecast.id),
        tag("input", type="hidden", name="decision", value="accepted"),
        tag("button", f"Accept {number(forecast.prediction)}", type="submit", class_="main"),
        action="/decisions",
        method="post",
        id="accept",
    )


def _override(forecast: Forecast, deciding: Deciding) -> Markup:
    error = deciding.error
    output = forecast.known.contract["output"]
    value = tag(
        "input",
        id="override-value",
        name="value",
        type="text",
        inputmode="decimal",
        autocomplete="off",
        value=deciding.value,
        aria_describedby="override-error" if error else None,
        aria_invalid="true" if error else None,
        autofocus=bool(error),
    )
    least = f" ({number(output['minimum'])} or more)" if output.get("minimum") is not None else ""
    return tag(
        "form",
        tag("input", type="hidden", name="id", value=forecast.id),
        tag("input", type="hidden", name="decision", value="overridden"),
        tag(
            "div",
            tag("label", f"Use another number{least}", for_="override-value"),
            value,
            tag("p", error, class_="error", id="override-error") if error else "",
            class_="field wrong" if error else "field",
        ),
        tag(
            "div",
            tag("label", "Reason (may be empty)", for_="override-reason"),
            tag(
                "input",
                id="override-reason",
                name="reason",
                type="text",
                maxlength=_MOST_REASON,
                autocomplete="off",
                value=deciding.reason,
            ),
            class_="field",
        ),
        tag("button", "Override", type="submit"),
        action="/decisions",
        method="post",
        id="override",
        novalidate=True,
    )
