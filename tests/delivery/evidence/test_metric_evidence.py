"""Counters are judged by intervals: as events are, through restarts, and never when they are stale."""

from collections.abc import Iterator
from math import isnan

import numpy as np
import pytest

from cd4ml.adapters.prometheus import Prometheus, Selector, Series, scrape
from cd4ml.delivery.evidence.counters import IntervalCounts
from cd4ml.delivery.evidence.metric_names import ArmSeries, envoy_series, istio_series, own_series
from cd4ml.delivery.evidence.metrics import ScrapeEvidence
from cd4ml.delivery.evidence.source import Collected
from cd4ml.delivery.evidence.units import EventMetric
from cd4ml.domain.rollout.state import Phase, Rollout
from cd4ml.domain.sequential.balance import ArmBalance
from cd4ml.domain.sequential.rare import RareEvents, either
from cd4ml.domain.sequential.rate_ratio import RateRatio
from cd4ml.domain.sequential.verdict import Action
from cd4ml.errors import ServiceError, UsageError
from cd4ml.problem import Rollout as Policy
from tests.delivery.evidence.metrics_page import Page, served
from tests.delivery.evidence.traffic import BEGAN, judged, named, policy, rollout


@pytest.fixture
def page() -> Iterator[Page]:
    with served() as found:
        yield found


def series_of(found: Rollout, variant: str) -> ArmSeries:
    version = found.stable.version if variant == "stable" else found.candidate.version
    return own_series(found.service, version, variant)


class Scraped:
    """Scrapes every 5 s of a time that the test makes up."""

    def __init__(self, page: Page, wanted: Policy, step: Rollout | None = None) -> None:
        self.page, self.wanted, self.step = page, wanted, step or rollout()
        self.source = ScrapeEvidence(lambda: [f"{page.url}/metrics"], series_of)
        page.count("stable", 300)
        self.at = BEGAN - 5
        self.look()

    def look(self) -> Collected:
        step = self.step if self.at >= BEGAN else rollout(began=0.0)
        return self.source.collect(step, self.wanted, self.at)

    def run(self, looks: int, stable: tuple[int, int, int], canary: tuple[int, int, int]) -> Collected:
        """Count (good, failed, slow) requests of each arm before each look."""
        for _ in range(looks):
            self.at += 5
            candidate = "shadow" if self.step.phase is Phase.SHADOW else "canary"
            for name, (good, failed, slow) in (("stable", stable), (candidate, canary)):
                self.page.count(name, good)
                self.page.count(name, failed, status=500)
                self.page.count(name, slow, seconds=1.5)
            found = self.look()
        return found


@pytest.mark.parametrize(("canary", "why"), [((45, 5, 0), "errors"), ((45, 0, 5), "slow answers")])
def test_a_canary_that_errs_and_one_that_is_slow_are_found(
    page: Page, canary: tuple[int, int, int], why: str
) -> None:
    found = judged(Scraped(page, policy()).run(14, (50, 0, 0), canary), policy())
    assert found.action is Action.ROLL_BACK
    assert [one.split(":")[0] for one in found.reasons] == [why]


def test_an_equal_canary_is_cleared(page: Page) -> None:
    found = Scraped(page, policy()).run(20, (100, 0, 0), (100, 0, 0))
    assert found.holds == ()
    assert judged(found, policy()).action is Action.PROMOTE
    assert 2000 < found.requests < 4000


def test_a_shadow_is_judged_by_its_counters_too(page: Page) -> None:
    found = Scraped(page, policy(), rollout(Phase.SHADOW)).run(14, (50, 0, 0), (45, 5, 0))
    assert found.holds == ()
    assert judged(found, policy()).action is Action.ROLL_BACK


def test_a_restart_of_a_server_counts_from_zero(page: Page) -> None:
    scraped = Scraped(page, policy(slow_seconds=0.5))
    scraped.run(6, (50, 0, 0), (50, 0, 0))
    page.restart()
    scraped.run(6, (50, 0, 0), (50, 0, 0))
    for _ in range(4):
        scraped.at += 5
        found = scraped.look()
    # Two looks are before the first difference, and two are too new to be counted.
    assert found.requests == 800
    assert found.holds == ()


def test_metrics_that_are_stale_or_away_hold(page: Page) -> None:
    scraped = Scraped(page, policy())
    assert scraped.run(6, (50, 0, 0), (50, 0, 0)).holds == ()
    page.away = True
    found = scraped.run(6, (0, 0, 0), (0, 0, 0))
    assert any("'canary' are stale" in one for one in found.holds)
    assert any("answered 503" in one for one in found.holds)


def test_what_cannot_be_told_holds(page: Page) -> None:
    few = Scraped(page, policy()).run(20, (50, 0, 0), (10, 0, 0))
    assert any("not split" in one for one in few.doubts)
    assert few.holds == ()
    sticky = Scraped(page, policy(sticky="cookie:who")).run(2, (1, 0, 0), (1, 0, 0))
    assert any("cannot tell callers apart" in one for one in sticky.holds)
    page.restart()
    source = ScrapeEvidence(lambda: [f"{page.url}/metrics"], series_of)
    new = source.collect(rollout(), policy(), BEGAN + 1)
    assert any("set `slow_seconds`" in one for one in new.holds)
    assert isnan(named(new, "slow answers").estimate)
    assert judged(new, policy()).action is Action.CONTINUE
    assert source.collect(rollout(), policy(), BEGAN - 9).holds == ("the controller's clock went backwards",)
    assert source.collect(rollout(Phase.WATCH), policy(), BEGAN + 9).evidence == ()


def test_counts_of_an_interval_end_where_single_events_end() -> None:
    arms = np.random.default_rng(3).random(60) < 0.5
    single, binned = RateRatio(2.0), RateRatio(2.0)
    single.update(arms, 0.3)
    for block in np.split(arms, 6):
        binned.update_counts(int(block.sum()), int((~block).sum()), 0.3)
    assert binned.harm.log_value == pytest.approx(single.harm.log_value)
    assert binned.safe.log_value == pytest.approx(single.safe.log_value)
    assert binned.harm.log_peak <= single.harm.log_peak + 1e-9
    assert (binned.events, binned.events_in_canary) == (single.events, single.events_in_canary)
    assert binned.interval(0.05) == single.interval(0.05)
    one, other = ArmBalance(), ArmBalance()
    one.update(arms, np.full(60, 0.3))
    other.update_counts(int(arms.sum()), int((~arms).sum()), 0.3)
    assert other.count == one.count
    assert 0 <= other.log_peak <= one.log_peak + 1e-9


def test_rare_events_are_told_from_the_limit_and_the_limit_itself_hardly_ever_passes() -> None:
    never = RareEvents(0.01)
    never.update(np.zeros(600, dtype=bool))
    assert never.mixture.log_peak > np.log(40)
    counted = RareEvents(0.01)
    counted.update_counts(600, 0)
    assert counted.mixture.log_peak == pytest.approx(never.mixture.log_peak)
    rng, passed = np.random.default_rng(5), 0
    for _ in range(400):
        test = RareEvents(0.01)
        test.update(rng.random(3000) < 0.01)
        passed += test.mixture.log_peak >= np.log(20)
    assert passed <= 400 * 0.05 + 3 * (400 * 0.05 * 0.95) ** 0.5
    assert either(0.0, 0.0) == 0.0
    assert either(5.0, 1.0) == pytest.approx(5.0 - np.log(2))
    with pytest.raises(UsageError, match="between 0 and 1"):
        RareEvents(1.0)


@pytest.mark.parametrize(("ratio", "most"), [(1.0, 0.08), (2.0, 0.08)])
def test_an_equal_canary_is_hardly_ever_rolled_back_and_one_at_the_margin_hardly_ever_promoted(
    ratio: float, most: float
) -> None:
    rng, wrong, runs = np.random.default_rng(11), 0, 200
    for _ in range(runs):
        metric = EventMetric("errors", 2.0, 0.01)
        arms = rng.random(4000) < 0.3
        failed = rng.random(4000) < np.where(arms, 0.02 * ratio, 0.02)
        metric.update([""] * 4000, arms, 0.3, failed)
        found = metric.evidence(0.05)
        assert found.safe_log_peak is not None
        peak = found.harm_log_peak if ratio == 1.0 else found.safe_log_peak
        wrong += peak >= np.log(20)
    assert wrong / runs <= most  # 5 % and two standard deviations


def test_increases_know_restarts_gaps_and_series_that_appear_with_their_first_event() -> None:
    requests, failed = IntervalCounts(100.0, 10.0), IntervalCounts(100.0, 10.0)
    own = {"pod": "a"}
    requests.take([Series(own, [(95, 7), (101, 10), (108, 15), (112, 3), (131, 4)])], requests)
    assert [requests.of(place) for place in range(4)] == [5, 3, 0, 1]
    failed.take([Series({**own, "code": "500"}, [(112, 2)])], requests)
    assert failed.of(1) == 2
    failed.take([Series({**own, "code": "500"}, [(112, 2), (115, 4)])], requests)
    assert failed.of(1) == 2
    unknown = IntervalCounts(100.0, 10.0)
    unknown.take([Series({"pod": "b"}, [(112, 2), (113, float("nan")), (114, 3)])], requests)
    assert unknown.of(1) == 1


def test_a_page_is_read_with_all_that_the_text_format_has(page: Page) -> None:
    page.text = b'# HELP a b\na 1\nb{x="1,\\"}\\n",y=""} +Inf 17\nc{} NaN\n\n'
    found = scrape(page.url, 5.0)
    assert [name for name, _ in found] == ["a", "b", "c"]
    assert found[1][1].labels == {"x": '1,"}\n', "y": ""}
    assert found[1][1].samples == ((5.0, float("inf")),)
    page.text = b"a 1\n<html>\n"
    with pytest.raises(ServiceError, match="line 2 is no sample"):
        scrape(page.url, 5.0)
    with pytest.raises(UsageError, match="http://host:port"):
        scrape("file:///etc/passwd", 5.0)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b'{"status": "error", "error": "bad query"}', "refused 'up': bad query"),
        (b'{"status": "success", "warnings": ["half"], "data": {}}', "no whole answer: half"),
        (b'{"status": "success", "data": {"resultType": "scalar"}}', "does not answer as Prometheus"),
        (b"<html>", "does not answer as Prometheus"),
    ],
)
def test_an_answer_that_is_no_answer_is_an_error(page: Page, answer: bytes, said: str) -> None:
    page.text = answer
    with pytest.raises(ServiceError, match=said):
        Prometheus(page.url).query("up", 5.0)


def test_selectors_are_promql_and_match_what_it_would() -> None:
    assert str(istio_series("shop", "m-predictor-00002").failed) == (
        'istio_requests_total{destination_workload="m-predictor-00002",'
        'destination_workload_namespace="shop",reporter="source",response_code=~"0|5.."}'
    )
    failed = envoy_series("shop|canary").failed
    labels = {"envoy_cluster_name": "shop|canary", "envoy_response_code_class": "5"}
    assert failed.matches("envoy_cluster_upstream_rq_xx", labels)
    assert not failed.matches("envoy_cluster_upstream_rq_xx", {**labels, "envoy_response_code_class": "2"})
    assert str(Selector("a", {"b": 'c"\\'})) == 'a{b="c\\"\\\\"}'
    five = Selector("a", {}, {"code": "5.."})
    assert five.matches("a", {"code": "503"})
    assert not five.matches("a", {"code": "5030"})
