"""Evidence from counters of requests: of Prometheus, or scraped here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import floor

from cd4ml.adapters.prometheus import Prometheus, Selector, Series, scrape
from cd4ml.delivery.evidence.answers import BALANCE_ALPHA
from cd4ml.delivery.evidence.counters import IntervalCounts
from cd4ml.delivery.evidence.metric_names import ArmSeries
from cd4ml.delivery.evidence.record import LEAST_ANSWERS, SLOW_LEVEL
from cd4ml.delivery.evidence.source import Collected
from cd4ml.delivery.evidence.units import EventMetric
from cd4ml.domain.rollout.state import Phase, Rollout
from cd4ml.domain.rollout.traffic import wanted_traffic
from cd4ml.domain.sequential.balance import ArmBalance
from cd4ml.domain.sequential.mixture import log_threshold
from cd4ml.errors import ServiceError
from cd4ml.problem import Rollout as Policy

__all__ = ["MetricEvidence", "PrometheusEvidence", "ScrapeEvidence"]

Named = Callable[[Rollout, str], ArmSeries]
"""The counters of a rollout's variant: "stable", "canary" or "shadow"."""
_Samples = Callable[[Selector, float, float], Sequence[Series]]
_JUDGED = (Phase.SHADOW, Phase.CANARY, Phase.APPROVAL)
_LOOKBACK_SECONDS = 300.0
_KINDS = ("requests", "failed", "refused", "timed", "quick")


class _Arm:
    """The counters of one variant."""

    def __init__(self, name: str, series: ArmSeries, began_seconds: float, interval_seconds: float) -> None:
        self.name, self.series = name, series
        self._since = began_seconds
        self._counts = {kind: IntervalCounts(began_seconds, interval_seconds) for kind in _KINDS}

    @property
    def newest_seconds(self) -> float:
        """When its requests were counted last; 0 for never."""
        return self._counts["requests"].newest_seconds

    def read(self, samples: _Samples, at_seconds: float, limit: str | None) -> None:
        """Take what was scraped since the last time."""
        series, counts = self.series, self._counts
        everything = counts["requests"]
        everything.take(samples(series.requests, self._since, at_seconds), everything)
        counts["failed"].take(samples(series.failed, self._since, at_seconds), everything)
        counts["refused"].take(samples(series.refused, self._since, at_seconds), everything)
        if limit is not None:
            for kind, edge in (("timed", "+Inf"), ("quick", limit)):
                counts[kind].take(samples(_edge(series.buckets, edge), self._since, at_seconds))
        # Once more what may have come in late; what was taken is passed over.
        self._since = max(self._since, at_seconds - _LOOKBACK_SECONDS)

    def counts(self, interval: int) -> Mapping[str, int]:
        """Return what happened in an interval."""
        return {kind: counted.of(interval) for kind, counted in self._counts.items()}


class _Step:
    """What counters say of one step."""

    def __init__(
        self, rollout: Rollout, policy: Policy, named: Named, interval_seconds: float, stale_seconds: float
    ) -> None:
        self._began, self._policy = rollout.converged_at_seconds, policy
        self._interval, self._stale = interval_seconds, stale_seconds
        traffic = wanted_traffic(rollout, policy)
        candidate = "shadow" if traffic.shadow else "canary"
        mirrored = traffic.mirror_percent / 100
        self._share = mirrored / (1 + mirrored) if traffic.shadow else traffic.canary_percent / 100
        self._arms = tuple(
            _Arm(name, named(rollout, name), self._began, interval_seconds) for name in ("stable", candidate)
        )
        ratio, slow, rare = policy.max_error_ratio, policy.max_slow_ratio, policy.negligible_fraction
        self._errors = EventMetric("errors", ratio, rare)
        self._slow = EventMetric("slow answers", slow, rare)
        self._refused = EventMetric("refused requests", ratio, 0.0)
        self._balance = ArmBalance()
        self._next, self._seen_at = 0, 0.0
        self._limit: str | None = None

    def look(self, samples: _Samples, at_seconds: float) -> Collected:
        """Read what is new and return what is known."""
        if at_seconds < self._seen_at - 1.0:
            return Collected((), ("the controller's clock went backwards",))
        self._seen_at = max(self._seen_at, at_seconds)
        if self._limit is None:
            self._limit = self._slow_limit(samples)
        for arm in self._arms:
            arm.read(samples, at_seconds, self._limit)
        # An interval is counted when both arms told of all of it.
        told = min(at_seconds - self._stale, *(arm.newest_seconds for arm in self._arms))
        ripe = floor((told - self._began) / self._interval)
        while self._next < ripe:
            self._take(*(arm.counts(self._next) for arm in self._arms))
            self._next += 1
        alpha = self._policy.alpha
        found = tuple(one.evidence(alpha) for one in (self._errors, self._slow, self._refused))
        return Collected(found, self._holds(at_seconds), self._errors.units, self._doubts())

    def _take(self, stable: Mapping[str, int], candidate: Mapping[str, int]) -> None:
        requests = (stable["requests"], candidate["requests"])
        self._balance.update_counts(requests[1], requests[0], self._share)
        for metric, kind in ((self._errors, "failed"), (self._refused, "refused")):
            metric.update_counts(requests, (stable[kind], candidate[kind]), self._share)
        if self._limit is not None:
            timed = (stable["timed"], candidate["timed"])
            slow = (max(timed[0] - stable["quick"], 0), max(timed[1] - candidate["quick"], 0))
            self._slow.update_counts(timed, slow, self._share)

    def _holds(self, at_seconds: float) -> tuple[str, ...]:
        found = []
        for arm in self._arms:
            age = at_seconds - max(arm.newest_seconds, self._began)
            if age > self._stale:
                found.append(f"the metrics of '{arm.name}' are stale: nothing new for {age:.0f} s")
        if self._limit is None:
            found.append(
                "nothing tells from when on an answer is slow: set `slow_seconds`, or wait for"
                f" {LEAST_ANSWERS} answers of the stable version before the step"
            )
        if self._policy.sticky:
            found.append("counters cannot tell callers apart, and the policy places them by a sticky value")
        if self._balance.many_log_peak >= log_threshold(BALANCE_ALPHA):
            found.append(self._not_split)
        return tuple(found)

    def _doubts(self) -> tuple[str, ...]:
        """Return why the canary looks better than it may be."""
        return (self._not_split,) if self._balance.few_log_peak >= log_threshold(BALANCE_ALPHA) else ()

    @property
    def _not_split(self) -> str:
        return f"requests are not split as the weight of {100 * self._share:g} % says"

    def _slow_limit(self, samples: _Samples) -> str | None:
        """Return the label `le` from which on an answer is slow; None while nothing tells."""
        series = self._arms[0].series
        found = samples(series.buckets, self._began - _LOOKBACK_SECONDS, max(self._began, self._seen_at))
        counts: dict[str, float] = {}
        for one in found:
            before = [value for at, value in one.samples if at <= self._began]
            value = before[-1] if before else 0.0
            counts[one.labels["le"]] = counts.get(one.labels["le"], 0.0) + value
        edges = sorted((edge for edge in counts if edge != "+Inf"), key=float)
        if wanted := self._policy.slow_seconds:
            return next((edge for edge in edges if float(edge) * series.seconds >= wanted * 0.999_999), None)
        total = counts.get("+Inf", 0.0)
        if total < LEAST_ANSWERS:
            return None
        return next((edge for edge in edges if counts[edge] >= SLOW_LEVEL * total), None)


class MetricEvidence:
    """Evidence from counters: errors, refusals and slow answers of two arms, interval by interval.

    Within an interval the order of requests is unknown and not used. Retries are requests of their own.
    After the promotion there is one arm, and counters say nothing.

    Parameters
    ----------
    samples : callable
        (selector, later than, until) -> the samples as they were scraped.
    named : callable
        (rollout, variant) -> its counters.
    interval_seconds : float
        Of at least two scrapes.
    stale_seconds : float
        Older samples are stale, which holds the step; intervals are counted when they are that old.
    """

    def __init__(
        self,
        samples: _Samples,
        named: Named,
        interval_seconds: float = 30.0,
        stale_seconds: float = 60.0,
    ) -> None:
        self._samples, self._named = samples, named
        self._interval, self._stale = interval_seconds, stale_seconds
        self._steps: dict[str, tuple[tuple[str, Phase, int, float], _Step]] = {}

    def collect(self, rollout: Rollout, policy: Policy, at_seconds: float) -> Collected:
        """Return what is known of the rollout's current step; see `EvidenceSource`."""
        if not rollout.converged_at_seconds or rollout.phase not in _JUDGED:
            self._steps.pop(rollout.service, None)
            return Collected(())
        key = (rollout.id, rollout.phase, rollout.step, rollout.converged_at_seconds)
        known = self._steps.get(rollout.service)
        if known is None or known[0] != key:
            known = (key, _Step(rollout, policy, self._named, self._interval, self._stale))
            self._steps[rollout.service] = known
        try:
            return known[1].look(self._samples, at_seconds)
        except ServiceError as error:
            return Collected((), (f"the metrics cannot be read: {error}",))


class PrometheusEvidence(MetricEvidence):
    """Evidence from a Prometheus; another process asks it for all of the step again and says the same.

    Parameters
    ----------
    prometheus : Prometheus
        Who scrapes.
    named, interval_seconds, stale_seconds
        As in `MetricEvidence`; intervals and staleness are at least twice its scrape interval.
    """

    def __init__(
        self,
        prometheus: Prometheus,
        named: Named,
        interval_seconds: float = 30.0,
        stale_seconds: float = 60.0,
    ) -> None:
        super().__init__(prometheus.since, named, interval_seconds, stale_seconds)


class ScrapeEvidence(MetricEvidence):
    """Evidence from pages of metrics that are read here, at each look.

    What was counted before this process began to look is not known to it: after a restart a step's evidence
    begins anew. An address that does not answer tells nothing, and goes stale.

    Parameters
    ----------
    addresses : callable
        Returns where the pages are now, e.g. of each model server of a plane, or of each pod.
    """

    def __init__(
        self,
        addresses: Callable[[], Sequence[str]],
        named: Named,
        interval_seconds: float = 10.0,
        stale_seconds: float = 20.0,
    ) -> None:
        super().__init__(self._kept, named, interval_seconds, stale_seconds)
        self._addresses = addresses
        self._found: dict[str, dict[tuple[tuple[str, str], ...], list[tuple[float, float]]]] = {}

    def collect(self, rollout: Rollout, policy: Policy, at_seconds: float) -> Collected:
        """Read the pages, and return what is known; see `EvidenceSource`."""
        unread = []
        for address in self._addresses():
            try:
                self._keep(address, at_seconds)
            except ServiceError as error:
                unread.append(f"the metrics cannot be read: {error}")
        found = super().collect(rollout, policy, at_seconds)
        return Collected(found.evidence, (*found.holds, *unread), found.requests, found.doubts)

    def _keep(self, address: str, at_seconds: float) -> None:
        for name, series in scrape(address, at_seconds):
            labels = tuple(sorted({**series.labels, "instance": address}.items()))
            samples = self._found.setdefault(name, {}).setdefault(labels, [])
            samples[:] = [one for one in samples if one[0] > at_seconds - _LOOKBACK_SECONDS]
            samples += series.samples

    def _kept(self, selector: Selector, since_seconds: float, until_seconds: float) -> list[Series]:
        found = []
        for labels, samples in self._found.get(selector.name, {}).items():
            if selector.matches(selector.name, dict(labels)):
                mine = [one for one in samples if since_seconds < one[0] <= until_seconds]
                found += [Series(dict(labels), mine)] if mine else []
        return found


def _edge(buckets: Selector, edge: str) -> Selector:
    return Selector(buckets.name, {**buckets.labels, "le": edge}, buckets.patterns)
