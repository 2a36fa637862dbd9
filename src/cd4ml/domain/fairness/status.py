"""What a finding comes to, once all are weighed together: pass, fail, warn, insufficient_data or waived."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from cd4ml.domain.fairness.findings import Finding
from cd4ml.domain.fairness.multiplicity import benjamini_hochberg, holm
from cd4ml.domain.fairness.rows import BiasRow, Family, RowStatus
from cd4ml.domain.fairness.waiving import covering, held
from cd4ml.domain.fairness.wording import sentence
from cd4ml.problem import Bias, Waiver

__all__ = ["settle"]


def settle(findings: Sequence[Finding], block: frozenset[str], policy: Bias, today: date) -> list[BiasRow]:
    """Return the row of each finding, in the order given.

    Parameters
    ----------
    block : frozenset of str
        Measures that may reject. Only what is measured after training does, against the rest, a reference
        group or among the groups; comparisons with the champion warn, since the ratchet judges them.
    today : date
        Day on which waivers are held against.
    """
    families = [_family(finding, block) for finding in findings]
    adjusted: dict[int, float] = {}
    for family, adjust in (("blocking", holm), ("warning", benjamini_hochberg)):
        tested = [i for i, f in enumerate(findings) if f.p is not None and families[i] == family]
        values = adjust([float(findings[i].p or 0.0) for i in tested])
        adjusted |= dict(zip(tested, values, strict=True))
    return [_row(finding, families[i], adjusted.get(i), policy, today) for i, finding in enumerate(findings)]


def _family(finding: Finding, block: frozenset[str]) -> Family:
    facts = finding.facts
    named = facts["metric"] in block and facts["margin"] is not None
    blocks = named and facts["stage"] == "post" and facts["against"] != "champion"
    return "blocking" if blocks else "warning"


def _row(finding: Finding, family: Family, adjusted_p: float | None, policy: Bias, today: date) -> BiasRow:
    facts = finding.facts
    status = _status(finding, family, adjusted_p, policy.alpha)
    waiver = covering(policy.waivers, facts["metric"], facts["column"], facts["slice"])
    waived, extra = None, ""
    if waiver is not None and _is_finding(status, family):
        waived = {"by": waiver.by, "reason": waiver.reason, "until": waiver.until.isoformat()}
        status, extra = _under(waiver, status, facts["stage"], today)
    reason = sentence(finding, family, adjusted_p, policy.alpha) + extra
    return BiasRow(**facts, adjusted_p=adjusted_p, family=family, status=status, waived=waived, reason=reason)


def _status(finding: Finding, family: Family, adjusted_p: float | None, alpha: float) -> RowStatus:
    if adjusted_p is None:
        shown = finding.facts["margin"] is None
        return "pass" if shown else "insufficient_data"
    if adjusted_p < alpha:
        return "fail" if family == "blocking" else "warn"
    if finding.within:
        return "pass"
    return "warn" if family == "blocking" else "insufficient_data"


def _is_finding(status: RowStatus, family: Family) -> bool:
    return status in ("fail", "warn") or (status == "insufficient_data" and family == "blocking")


def _under(waiver: Waiver, status: RowStatus, stage: str, today: date) -> tuple[RowStatus, str]:
    """Return the status under a waiver and what is added to the reason; an expired one makes it fail."""
    if held(waiver, today):
        return "waived", f" Waived by {waiver.by} until {waiver.until}: {waiver.reason}"
    said = f" The waiver by {waiver.by} expired on {waiver.until}: renew it with a reason, or mend the model."
    return ("fail" if stage == "post" else status), said
