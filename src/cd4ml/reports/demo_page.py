"""The page of the demonstration: one timeline, and for each rollout its traffic, its evidence and its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, isfinite, log
from typing import TYPE_CHECKING, Any

from cd4ml.reports.drawing import CHARACTER, ROW, Canvas, Scale, axes, shorten
from cd4ml.reports.page import Fact, Figure, Grid, Section, Status, render

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["demo_page"]

_LEFT, _RIGHT, _TOP = 46.0, 14.0, 34.0
_WIDTH = 440.0
_MOST_LINES = 3
_PHASES = {
    "verify": "verified",
    "shadow": "shadow",
    "canary": "canary",
    "approval": "approval",
    "watch": "watched",
    "promoted": "promoted",
    "rolled_back": "taken back",
    "aborted": "aborted",
}
_FILLS = {"verify": "p-gap", "shadow": "p-validation", "canary": "p-holdout", "watch": "p-train"}


def demo_page(story: Mapping[str, Any]) -> str:
    """Return the page of a demonstration.

    Parameters
    ----------
    story : mapping
        As `Story.to_dict` gives it: `rollouts` with their `history`, `trail` and `share`, what the callers
        saw in `seconds_of_traffic`, `differs`.
    """
    rollouts: Sequence[Mapping[str, Any]] = story["rollouts"]
    taken = [one for one in rollouts if one["phase"] == "promoted"]
    stopped = [one for one in rollouts if one["phase"] == "rolled_back"]
    as_expected = not story["differs"]
    said = (
        f"{_count(taken)} took over, {_count(stopped)} stopped, as expected"
        if as_expected
        else f"Not what was expected: {'; '.join(story['differs'])}"
    )
    asked = sum(sum(one["versions"].values()) for one in story["seconds_of_traffic"])
    failed = sum(one["errors"] for one in story["seconds_of_traffic"])
    facts = [
        Fact("Requests", f"{asked:,}", "in the callers' own log"),
        Fact("Without a good answer", f"{failed:,}", "of all versions together"),
        Fact("Time", f"{story['seconds']:.0f} s", f"with training; seed {story['seed']}"),
    ]
    lead = [
        "A shop asks for forecasts all the time. New models want to take over; each has to prove itself on"
        " copies of requests, then on a growing share of them.",
    ]
    return render(
        "Four models want to take over" if len(rollouts) == 4 else "Models want to take over",
        lead,
        [_overview(story), *(_section(one, story) for one in rollouts)],
        kicker="cd4ml demo",
        decision=(Status("pass" if as_expected else "fail"), said),
        facts=facts,
    )


def _count(rollouts: Sequence[Mapping[str, Any]]) -> str:
    return f"{len(rollouts)} model{'s' if len(rollouts) != 1 else ''}"


def _overview(story: Mapping[str, Any]) -> Section:
    """Return the whole time in one figure, and the decisions in one table."""
    rollouts = story["rollouts"]
    start, end = _span(story)
    section = Section("timeline", "The whole story")
    section.figures.append(
        Figure(
            _area(story, rollouts, start, end),
            "Who answered.",
            "Requests a second by version, as the callers counted them. Bars above: one rollout each.",
            _phases_table(rollouts, start),
        )
    )
    rows = [
        [
            one["title"],
            Status("pass" if one["phase"] == "promoted" else "fail", _PHASES[one["phase"]]),
            f"{100 * one['share']['answered'] / max(one['share']['requests'], 1):.1f} %",
            f"{one['ended'] - one['began']:.0f} s",
        ]
        for one in rollouts
    ]
    head = ("model", "what became of it", "answers", "time")
    section.tables.append(Grid("Decisions", head, rows, frozenset(head[:2])))
    section.side = True
    return section


def _section(one: Mapping[str, Any], story: Mapping[str, Any]) -> Section:
    """Return one rollout."""
    good = one["phase"] == "promoted"
    before = one["history"][-2] if len(one["history"]) > 1 else None
    section = Section(
        one["name"],
        f"{one['title'][0].upper()}{one['title'][1:]}",
        intro=[one["setting"], _sentence(one, before)],
        status=Status("pass" if good else "fail", _PHASES[one["phase"]]),
    )
    section.points = _decisions(one)
    start, end = one["began"] - 1, one["ended"] + 1
    section.figures.append(
        Figure(
            _area(story, [one], start, end),
            "Who answered.",
            f"Requests a second; version {one['candidate']} is the new one, {one['stable']} the old one.",
            _steps_table(one),
        )
    )
    growth = _growth(one, start, end)
    if growth is not None:
        section.figures.append(growth)
    return section


def _decisions(one: Mapping[str, Any]) -> list[str]:
    """Return each step and why it was taken; of several reasons the first few of the last step."""
    found = []
    for entry in one["history"][1:]:
        share = f" {entry['canary_percent']:g} %" if entry["phase"] == "canary" else ""
        most = _MOST_LINES if entry is one["history"][-1] else 1
        found.append(f"{_PHASES[entry['phase']]}{share}: {'; '.join(entry['reasons'][:most])}")
    return found


def _sentence(one: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    share = one["share"]
    seen = f"it gave {share['answered']:,} of {share['requests']:,} answers"
    if one["phase"] == "promoted":
        return f"Version {one['candidate']} replaced version {one['stable']}; during its rollout {seen}."
    where = _PHASES.get(before["phase"], before["phase"]) if before else "?"
    allowed = (
        "its policy allowed none"
        if one["most_percent"] == 0
        else f"its policy allowed {one['most_percent']:g} %"
    )
    return f"It was stopped as {where} after {one['ended'] - one['began']:.0f} s; {seen}, and {allowed}."


def _span(story: Mapping[str, Any]) -> tuple[float, float]:
    rollouts = story["rollouts"]
    return min(one["began"] for one in rollouts) - 1, max(one["ended"] for one in rollouts) + 1


def _area(
    story: Mapping[str, Any], rollouts: Sequence[Mapping[str, Any]], start: float, end: float
) -> Markup:
    """Draw answers a second, one version above the other, below the phases of the rollouts."""
    within = [one for one in story["seconds_of_traffic"] if start <= one["at"] <= end - 1]
    colours = {name: place for place, name in enumerate(_versions(story))}
    names = [name for name in colours if any(name in one["versions"] for one in within)]
    height = 300.0 if len(rollouts) > 1 else 250.0
    top = _TOP + ROW * 1.6
    most = max([sum(one["versions"].values()) for one in within], default=1)
    x = Scale(0, end - start, _LEFT, _WIDTH - _RIGHT)
    y = Scale(0, most * 1.05, height - 64, top + 14)
    canvas = Canvas(height, f"Requests a second over {end - start:.0f} s, by version")
    _bars(canvas, rollouts, x, start, top)
    axes(canvas, x, y, ("seconds", ""))
    floor = [0.0] * len(within)
    for name in names:
        upper = [low + one["versions"].get(name, 0) for low, one in zip(floor, within, strict=True)]
        _layer(canvas, [one["at"] - start for one in within], floor, upper, x, y, colours[name])
        floor = upper
    canvas.text(2, top + 4, "requests a second", "m")
    _legend(canvas, names, colours, height - 6)
    return canvas.svg()


def _versions(story: Mapping[str, Any]) -> list[str]:
    """Return the versions that answered, in the order in which they were rolled out."""
    found = {name for one in story["seconds_of_traffic"] for name in one["versions"]}
    order = dict.fromkeys(name for one in story["rollouts"] for name in (one["stable"], one["candidate"]))
    return [name for name in order if name in found]


def _layer(
    canvas: Canvas,
    times: Sequence[float],
    lower: Sequence[float],
    upper: Sequence[float],
    x: Scale,
    y: Scale,
    place: int,
) -> None:
    """Draw one version as steps, a second each."""
    runs: list[list[int]] = []
    for index in range(len(times)):
        if upper[index] <= lower[index]:
            continue
        if runs and runs[-1][-1] == index - 1 and times[index] - times[index - 1] < 1.5:
            runs[-1].append(index)
        else:
            runs.append([index])
    for run in runs:
        up = [(x.clamped(times[i] + edge), y(upper[i])) for i in run for edge in (0.0, 1.0)]
        down = [(x.clamped(times[i] + edge), y(lower[i])) for i in reversed(run) for edge in (1.0, 0.0)]
        canvas.path([*up, *down], f"n{place % 6}", closed=True)


def _bars(canvas: Canvas, rollouts: Sequence[Mapping[str, Any]], x: Scale, start: float, top: float) -> None:
    """Draw the phases above the traffic: named ones where there is room."""
    for one in rollouts:
        for phase, percent, began, ended in _phases(one):
            left, right = x.clamped(began - start), x.clamped(ended - start)
            said = f"{_PHASES[phase]} {percent:g} %" if phase == "canary" else _PHASES[phase]
            title = f"{one['title']}: {said}, {ended - began:.0f} s"
            canvas.box(left, top - 30, max(right - left - 1, 1), 10, _FILLS.get(phase, "track"), title)
            if len(rollouts) == 1 and right - left >= len(said) * CHARACTER * 0.92:
                canvas.text((left + right) / 2, top - 36, said, "m", anchor="middle")
        if len(rollouts) > 1:
            left, right = x.clamped(one["began"] - start), x.clamped(one["ended"] - start)
            room = int((right - left) / CHARACTER)
            canvas.text((left + right) / 2, top - 36, shorten(one["name"], room), "m", anchor="middle")


def _phases(one: Mapping[str, Any]) -> list[tuple[str, float, float, float]]:
    """Return phase, share, begin and end of each step of a rollout."""
    history = one["history"]
    ends = [entry["at_seconds"] for entry in history[1:]] + [one["ended"]]
    return [
        (entry["phase"], entry["canary_percent"], entry["at_seconds"], end)
        for entry, end in zip(history, ends, strict=True)
        if entry["phase"] in _PHASES
    ]


def _legend(canvas: Canvas, names: Sequence[str], colours: Mapping[str, int], y: float) -> None:
    x = _LEFT
    for name in names:
        said = f"version {name}"
        canvas.box(x, y - 9, 11, 11, f"n{colours[name] % 6}")
        canvas.text(x + 16, y, said, "m")
        x += 16 + len(said) * CHARACTER + 12


def _growth(one: Mapping[str, Any], start: float, end: float) -> Figure | None:
    """Draw e-values against their limits: harm of a model that was stopped, safety of one that went on."""
    points = [point for point in one["trail"] if point["evidence"]]
    if not points:
        return None
    harmful = one["phase"] != "promoted"
    side = "harm" if harmful else "safe"
    names = _telling(points, side)
    limit = log((max(len(point["evidence"]) for point in points) if harmful else 1) / one["alpha"])
    height = 250.0 + ROW * len(names)
    x = Scale(0, end - start, _LEFT, _WIDTH - _RIGHT)
    floor = height - 64 - ROW * len(names)
    highest = max(
        [limit * 1.25, *(min(_value(point, name, side), 3 * limit) for point in points for name in names)]
    )
    y = Scale(0, highest * 1.05, floor, _TOP)
    what = "worse" if harmful else "safe"
    canvas = Canvas(height, f"E-values for '{what}' over {end - start:.0f} s; the limit is {exp(limit):.0f}")
    _limits(canvas, x, y, limit, floor, end - start)
    for place, name in enumerate(names):
        for run in _steps(points, name):
            path = [
                (x.clamped(point["at_seconds"] - start), y.clamped(_value(point, name, side)))
                for point in run
            ]
            canvas.path(path if len(path) > 1 else path * 2, f"l c{place}")
        low = floor + 54 + ROW * place
        canvas.path([(_LEFT, low - 4), (_LEFT + 24, low - 4)], f"l c{place}")
        canvas.text(_LEFT + 32, low, shorten(name, int((_WIDTH - _LEFT - 32) / CHARACTER)), "m")
    title = f"How the evidence for '{what}' grew."
    note = (
        "An e-value says how many times better the data fit a worse version than an equal one. At the dashed"
        " line the rollout is taken back."
        if harmful
        else "At the dashed line a metric is proven safe; each step begins anew."
    )
    return Figure(canvas.svg(), title, note, _evidence_table(one))


def _limits(canvas: Canvas, x: Scale, y: Scale, limit: float, floor: float, seconds: float) -> None:
    """Draw the axes: e-values as powers of ten, on their logarithms."""
    for power in range(int(y.high / log(10)) + 1):
        value = power * log(10)
        canvas.line(x.start, y(value), x.end, y(value), "g")
        canvas.text(x.start - 6, y(value) + 4.5, _power(power), "m", anchor="end")
    canvas.line(x.start, y(limit), x.end, y(limit), "r", f"limit {exp(limit):.0f}")
    canvas.text(x.end, y(limit) - 5, f"limit {exp(limit):.0f}", "m", anchor="end")
    for value, said in Scale(0, seconds, x.start, x.end).ticks():
        canvas.line(x(value), floor, x(value), floor + 4, "a")
        canvas.text(x(value), floor + 18, said, "m", anchor="middle")
    canvas.line(x.start, floor, x.end, floor, "a")
    canvas.text((x.start + x.end) / 2, floor + 35, "seconds", "m", anchor="middle")
    canvas.text(2, _TOP - 14, "e-value", "m")


def _power(power: int) -> str:
    return f"{10**power:,}" if power < 4 else "10" + "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(power))


def _telling(points: Sequence[Mapping[str, Any]], side: str) -> list[str]:
    """Return the few metrics that tell most, without the value of a slice, which changes."""
    best: dict[str, float] = {}
    for point in points:
        for one in point["evidence"]:
            if one[side] is not None:
                name = _metric(one["name"])
                best[name] = max(best.get(name, 0.0), one[side])
    return sorted(best, key=lambda name: -best[name])[:_MOST_LINES]


def _metric(name: str) -> str:
    stem, separator, slice_ = name.partition(", ")
    return f"{stem} by {slice_.partition('=')[0]}" if separator and "=" in slice_ else name


def _value(point: Mapping[str, Any], name: str, side: str) -> float:
    values: list[float] = [
        one[side] for one in point["evidence"] if _metric(one["name"]) == name and one[side] is not None
    ]
    return max([0.0, *(value for value in values if isfinite(value))])


def _steps(points: Sequence[Mapping[str, Any]], name: str) -> list[list[Mapping[str, Any]]]:
    """Return the points that know a metric, parted where a step ends."""
    found: list[list[Mapping[str, Any]]] = []
    for point in points:
        if not any(_metric(one["name"]) == name for one in point["evidence"]):
            continue
        key = point["phase"], point["step"]
        if found and (found[-1][-1]["phase"], found[-1][-1]["step"]) == key:
            found[-1].append(point)
        else:
            found.append([point])
    return found


def _phases_table(rollouts: Sequence[Mapping[str, Any]], start: float) -> Grid:
    head = ("rollout", "phase", "from", "to", "share")
    rows: list[list[Any]] = []
    for one in rollouts:
        for phase, percent, began, ended in _phases(one):
            rows.append(
                [
                    one["name"],
                    _PHASES[phase],
                    f"{began - start:.0f} s",
                    f"{ended - start:.0f} s",
                    f"{percent:g} %",
                ]
            )
    return Grid("Phases of all rollouts", head, rows, frozenset(head[:2]), "The phases as a table")


def _steps_table(one: Mapping[str, Any]) -> Grid:
    head = ("at", "phase", "share", "why")
    rows: list[list[Any]] = [
        [
            f"{entry['at_seconds'] - one['began']:.0f} s",
            _PHASES[entry["phase"]],
            f"{entry['canary_percent']:g} %",
            "; ".join(entry["reasons"]),
        ]
        for entry in one["history"]
    ]
    return Grid(
        "Decisions of this rollout", head, rows, frozenset(("phase", "why")), "Each decision and why", True
    )


def _evidence_table(one: Mapping[str, Any]) -> Grid:
    """Return the last word of each step on each metric."""
    head = ("phase", "metric", "observations", "estimate", "worse", "safe")
    last: dict[tuple[str, int], Mapping[str, Any]] = {}
    for point in one["trail"]:
        if point["evidence"]:
            last[point["phase"], point["step"]] = point
    rows: list[list[Any]] = []
    for (phase, _), point in last.items():
        share = f" {point['percent']:g} %" if phase == "canary" else ""
        for known in point["evidence"]:
            estimate = "–" if known["estimate"] is None else f"{known['estimate']:.3g}"
            rows.append(
                [
                    _PHASES[phase] + share,
                    known["name"],
                    f"{known['units']:,}",
                    estimate,
                    *map(_e, (known["harm"], known["safe"])),
                ]
            )
    return Grid(
        "The last evidence of each step, as e-values", head, rows, frozenset(head[:2]), "All evidence", True
    )


def _e(log_value: float | None) -> str:
    if log_value is None:
        return "–"
    return f"{exp(log_value):,.0f}" if 1 <= log_value < 14 else f"{exp(min(log_value, 600)):.2g}"
