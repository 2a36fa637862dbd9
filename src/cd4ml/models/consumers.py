"""A bundle held against what its consumers send and rely on; and a first contract, drafted from a bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cd4ml.domain.consumer_contract import (
    ConsumerCheck,
    ConsumerContract,
    Finding,
    Range,
    Reliance,
    Request,
    Tolerance,
    judge_answers,
    judge_range,
    judge_times,
    judge_tries,
)
from cd4ml.errors import DataError, UsageError, nearest
from cd4ml.features.columns import concat
from cd4ml.features.transform import enrich, steps_of
from cd4ml.models.data import FloatArray
from cd4ml.models.latency import measure_latency
from cd4ml.models.runtime import Bundle, holdout_rows

__all__ = ["check_consumer", "draft_contract"]

Row: TypeAlias = Mapping[str, Any]
Asked: TypeAlias = list[tuple[str, Request]]
"""Requests that were accepted, with how they are called in messages."""
_STRANGE = "a text that nobody has sent before"
_VARIED_REQUESTS = 20
"""On so many requests fields are made null, left out and unknown."""
_NEW_SHARE = 0.25
_DIGITS = 6


def check_consumer(
    bundle: Bundle, contract: ConsumerContract, *, clock: Callable[[], float] = time.perf_counter
) -> ConsumerCheck:
    """Ask a bundle all that a consumer asks, and compare with what the consumer relies on.

    Parameters
    ----------
    clock : callable
        Seconds that only grow; for latencies.
    """
    findings: list[Finding] = []
    if contract.problem != bundle.problem.name:
        told = f"the contract is about '{contract.problem}', the model about '{bundle.problem.name}'"
        findings.append(Finding("problem", "fail", None, None, told))
    asked, refusals = _accepted(bundle, contract.requests)
    findings.append(judge_tries("requests", len(contract.requests), refusals, "requests"))
    findings.append(_at_once(bundle, contract.relies_on.rows_per_request, asked))
    if asked:
        found = _answers(bundle, [request.row for _, request in asked])
        findings += _outputs(contract.relies_on, asked, found)
        findings += _recorded(bundle, contract.relies_on.tolerance, asked, found)
        findings += _variations(bundle, contract.relies_on, asked)
        findings += _latency(bundle, contract.relies_on.max_latency_ms, asked, clock)
    return ConsumerCheck(
        contract.consumer, contract.owner, len(contract.requests), contract.fields, tuple(findings)
    )


def _accepted(bundle: Bundle, requests: Sequence[Request]) -> tuple[Asked, list[str]]:
    """Return the requests whose rows hold the bundle's contract, and why the others do not."""
    asked: Asked = []
    refusals = []
    for number, request in enumerate(requests, 1):
        name = f"request {number}" + (f" ({request.name})" if request.name else "")
        refusal = _refusal(bundle, request.row)
        if refusal:
            refusals.append(f"{name}: {refusal}")
        else:
            asked.append((name, request))
    return asked, refusals


def _refusal(bundle: Bundle, row: Row) -> str:
    """Return why a row is not answered with finite numbers; "" when it is."""
    try:
        found = bundle.predict_rows([row])
    except DataError as error:
        return str(error).replace("row 0: ", "", 1)
    wrong = [name for name, values in found.items() if not np.isfinite(values).all()]
    return f"the {wrong[0]} is not finite" if wrong else ""


def _answers(bundle: Bundle, rows: Sequence[Row]) -> dict[str, FloatArray]:
    """Return the outputs for rows, as many at once as the bundle takes."""
    found = [bundle.predict_rows(part) for part in _parts(bundle, rows)]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _parts(bundle: Bundle, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Yield rows, as many at once as a request may have."""
    size = int(bundle.contract["max_rows"])
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _at_once(bundle: Bundle, rows: int, asked: Asked) -> Finding:
    """Send as many rows in one request as the consumer does."""
    most = int(bundle.contract["max_rows"])
    if rows > most:
        told = f"it sends {rows} rows in a request; at most {most} are taken"
        return Finding("rows_per_request", "fail", float(rows), float(most), told)
    if asked:
        bundle.predict_rows([asked[place % len(asked)][1].row for place in range(rows)])
    told = f"{rows} rows in a request are taken"
    return Finding("rows_per_request", "pass", float(rows), float(most), told)


def _outputs(relies: Reliance, asked: Asked, found: Mapping[str, FloatArray]) -> Iterator[Finding]:
    names = [name for name, _ in asked]
    for output, limits in relies.outputs.items():
        if output in found:
            yield judge_range(output, found[output], limits, names)
        else:
            told = f"the output '{output}' is missing; there are {', '.join(sorted(found))}"
            yield Finding(f"output:{output}", "fail", None, None, told + nearest(output, found))


def _recorded(
    bundle: Bundle, tolerance: Tolerance | None, asked: Asked, found: Mapping[str, FloatArray]
) -> Iterator[Finding]:
    """Compare with the recorded answers, but for rows whose history the bundle has no more."""
    if tolerance is None:
        return
    old = _before_the_history(bundle, [request.row for _, request in asked])
    for output in sorted({name for _, request in asked for name in request.answer}):
        have = [place for place, (_, request) in enumerate(asked) if output in request.answer]
        places = [place for place in have if not old[place]]
        if output not in found:
            told = f"answers of '{output}' were recorded and are missing now"
            yield Finding(f"answers:{output}", "fail", None, None, told)
        elif len(places) < len(have):
            aged = len(have) - len(places)
            told = (
                f"{aged} of {len(have)} recorded answers of {output} are from before the history that"
                " the model carries, so they say nothing; record newer ones"
            )
            yield Finding(f"recorded:{output}", "warn", float(aged), 0.0, told)
        if output in found and places:
            recorded = np.array([asked[place][1].answer[output] for place in places])
            names = [asked[place][0] for place in places]
            yield judge_answers(output, recorded, found[output][places], tolerance, names)


def _before_the_history(bundle: Bundle, rows: Sequence[Row]) -> list[bool]:
    """Tell which rows need more of the past than the bundle has kept."""
    if not bundle.state.first_step:
        return [False] * len(rows)
    earliest = bundle.state.first_step + bundle.plan.needed_steps
    return [bool(step < earliest) for step in _steps(bundle, rows)]


def _steps(bundle: Bundle, rows: Sequence[Row]) -> list[int]:
    """Return each row's step of the calendar; zeros without time."""
    columns = concat([bundle.columns(part) for part in _parts(bundle, rows)])
    calendar = [bundle.problem.time.column] if bundle.problem.time else []
    whole = enrich(bundle.plan, bundle.state, columns, calendar)
    return [int(step) for step in steps_of(bundle.plan, bundle.state, {**columns, **whole})]


def _variations(bundle: Bundle, relies: Reliance, asked: Asked) -> Iterator[Finding]:
    """Try null, absent and unknown values where the consumer relies on them."""
    tries: dict[str, tuple[str, Sequence[str], Callable[[Row, str], Row]]] = {
        "accepts_null": ("null", relies.accepts_null, lambda row, field: {**row, field: None}),
        "accepts_absent": (
            "no",
            relies.accepts_absent,
            lambda row, field: {name: value for name, value in row.items() if name != field},
        ),
        "accepts_unknown": (
            "an unknown",
            relies.accepts_unknown,
            lambda row, field: {**row, field: _STRANGE},
        ),
    }
    few = asked[:_VARIED_REQUESTS]
    for rule, (word, fields, changed) in tries.items():
        refusals = []
        for field in fields:
            found = [(name, _refusal(bundle, changed(request.row, field))) for name, request in few]
            refusals += [f"{name} with {word} '{field}': {why}" for name, why in found if why][:1]
        if fields:
            yield judge_tries(rule, len(fields), refusals, f"fields with {word} value")


def _latency(
    bundle: Bundle, limit_ms: float | None, asked: Asked, clock: Callable[[], float]
) -> Iterator[Finding]:
    if limit_ms is not None:
        rows = [request.row for _, request in asked]
        yield judge_times(measure_latency(bundle, rows, clock=clock).p99_ms, limit_ms)


def draft_contract(
    folder: Path, consumer: str, owner: str, *, requests: int = 5, tolerance: Tolerance | None = None
) -> ConsumerContract:
    """Return a contract to begin with: holdout rows of a bundle with its answers, and its outputs' limits.

    The rows are those with the lowest and the highest prediction and others evenly between; of a forecast the
    newest quarter, since a bundle forgets old history.

    Parameters
    ----------
    folder : Path
        A bundle.
    requests : int
        How many, at least 1; fewer when the holdout has fewer.

    Raises
    ------
    UsageError
        If `requests` is below 1.
    """
    if requests < 1:
        raise UsageError(f"expected at least 1 request; found {requests}")
    bundle = Bundle.load(folder)
    rows = _newest(bundle, holdout_rows(folder), requests)
    found = _answers(bundle, rows)
    # A quantile is on the scale of the prediction, and a decision is 0 or 1 where that is a probability.
    limits = Range(*(bundle.contract["output"].get(end) for end in ("minimum", "maximum")))
    order = np.argsort(found["prediction"], kind="stable")
    places = order[np.unique(np.linspace(0, len(rows) - 1, requests).round().astype(int))]
    return ConsumerContract(
        consumer,
        bundle.problem.name,
        owner,
        tuple(Request(rows[place], answer=_answer(found, int(place))) for place in places),
        Reliance(dict.fromkeys(found, limits), tolerance),
        f"Drafted from a holdout of {bundle.problem.name}; keep what you send and rely on",
    )


def _newest(bundle: Bundle, rows: list[dict[str, Any]], least: int) -> list[dict[str, Any]]:
    if not bundle.state.panels:
        return rows
    steps = np.array(_steps(bundle, rows))
    first = np.quantile(steps, 1 - _NEW_SHARE)
    newest = [row for row, step in zip(rows, steps, strict=True) if step >= first]
    return newest if len(newest) >= least else rows


def _answer(found: Mapping[str, FloatArray], place: int) -> dict[str, float]:
    return {name: float(f"{values[place]:.{_DIGITS}g}") for name, values in found.items()}
