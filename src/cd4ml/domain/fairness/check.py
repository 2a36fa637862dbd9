"""Is the model fair? Every slice by every measure, with intervals, corrected for the number of questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy.typing as npt

from cd4ml.domain.bootstrap import resample
from cd4ml.domain.fairness.catalogue import DEFAULT_BLOCKING
from cd4ml.domain.fairness.findings import Finding, Question, find_findings
from cd4ml.domain.fairness.measure import Measure, Sample
from cd4ml.domain.fairness.rows import BiasReport, BiasRow
from cd4ml.domain.fairness.slices import Slices
from cd4ml.domain.fairness.status import settle
from cd4ml.domain.fairness.waiving import held
from cd4ml.errors import UsageError
from cd4ml.problem import Bias

__all__ = ["BiasReport", "BiasRow", "check_bias", "merge"]

AGAINST = ("extremes", "rest", "reference", "champion")


def check_bias(  # noqa: PLR0913 - keywords
    sample: Sample,
    slices: Slices,
    measures: Sequence[Measure],
    policy: Bias,
    *,
    today: date,
    cluster: npt.ArrayLike | None = None,
    references: Mapping[str, str] | None = None,
    champion: Sample | None = None,
    champion_margin_fraction: float = 0.1,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> BiasReport:
    """Return a row for each slice and measure against the rest, a reference group and the champion.

    All see the same resampled clusters, so that shocks which both sides share cancel. Blocking rows are
    corrected together by Holm's steps, the others by Benjamini and Hochberg's.

    Parameters
    ----------
    sample : Sample
        The rows that are judged.
    slices : Slices
        Over the same rows; see `build_slices`.
    measures : sequence of Measure
        From the catalogue; those that the sample lacks data for are left out.
    policy : Bias
        Limits and waivers; measures in `block`, by default those of the task, may fail.
    today : date
        Day on which waivers are held against.
    cluster : array of shape (n,), optional
        What rows depend on together; None takes each row for its own.
    references : mapping of str to str, optional
        Groups by column in place of the policy's; the largest where none is named.
    champion : Sample, optional
        The same rows as the champion predicts them.
    champion_margin_fraction : float
        How much worse than under the champion a slice may fare before it is warned of.
    resamples, level, seed
        Size, coverage and seed of the bootstrap.

    Raises
    ------
    UsageError
        If slices, cluster or champion have other rows than the sample, or a reference group has none.
    """
    _check_rows(sample, slices, champion)
    design = resample(sample.y.size, cluster, resamples=resamples, level=level, seed=seed)
    asked = [measure for measure in measures if measure.applies(sample)]
    groups = policy.references if references is None else references
    question = Question(sample, asked, policy, design, groups, champion, champion_margin_fraction)
    findings = _ordered(question, slices)
    task = "regression" if sample.decision is None else "classification"
    block = frozenset(DEFAULT_BLOCKING[task] if policy.block is None else policy.block)
    found = settle(findings, block, policy, today)
    return BiasReport(tuple(found), _summary(found, policy, today), policy.alpha)


def _check_rows(sample: Sample, slices: Slices, champion: Sample | None) -> None:
    rows = sample.y.size
    lengths = {column.codes.size for column in slices} | ({champion.y.size} if champion else set())
    if lengths - {rows}:
        raise UsageError(f"slices and champion must have the sample's {rows} rows; found {sorted(lengths)}")


def _ordered(question: Question, slices: Slices) -> list[Finding]:
    """Return the findings of all columns, each by measure and by what it is held against."""
    order = {measure.name: number for number, measure in enumerate(question.measures)}
    return [
        finding
        for column in slices
        for finding in sorted(
            find_findings(question, column),
            key=lambda found: (order[found.facts["metric"]], _rank(found.facts["against"])),
        )
    ]


def merge(
    reports: Sequence[BiasReport], policy: Bias, today: date, informs: Sequence[str] = ()
) -> BiasReport:
    """Return one report of several, each with families of its own; e.g. before and after training.

    Parameters
    ----------
    informs : sequence of str
        Columns that are compared for the reader: no gate rests on them.
    """
    rows = tuple(row for report in reports for row in report.rows)
    return BiasReport(rows, _summary(rows, policy, today) | {"informs": list(informs)}, policy.alpha)


def _rank(against: str) -> int:
    return AGAINST.index(against.partition(":")[0])


def _summary(rows: Sequence[BiasRow], policy: Bias, today: date) -> dict[str, Any]:
    """Return how many rows came to what, and what became of each waiver."""
    used = {(row.waived["by"], row.waived["until"], row.waived["reason"]) for row in rows if row.waived}
    waivers = [
        {
            **waiver.model_dump(mode="json"),
            "holds": held(waiver, today),
            "used": (waiver.by, waiver.until.isoformat(), waiver.reason) in used,
        }
        for waiver in policy.waivers
    ]
    return {
        "status": dict(sorted(Counter(row.status for row in rows).items())),
        "blocking": dict(sorted(Counter(r.status for r in rows if r.family == "blocking").items())),
        "columns": list(dict.fromkeys(row.column for row in rows)),
        "waivers": waivers,
        "informs": [],
    }
