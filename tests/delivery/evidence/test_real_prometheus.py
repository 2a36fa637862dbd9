"""Evidence from a real Prometheus that scrapes the model server's own metrics."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cd4ml.adapters.prometheus import Prometheus
from cd4ml.delivery.evidence.metric_names import envoy_series, istio_series
from cd4ml.delivery.evidence.metrics import PrometheusEvidence
from cd4ml.delivery.evidence.source import Collected
from cd4ml.domain.rollout.state import Rollout
from cd4ml.domain.sequential.verdict import Action
from cd4ml.errors import ServiceError
from tests.delivery.evidence.metrics_page import Page, served
from tests.delivery.evidence.test_metric_evidence import series_of
from tests.delivery.evidence.traffic import judged, named, policy, rollout

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]
_BINARY = shutil.which("prometheus")
_WANTED = policy(slow_seconds=0.5)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with served() as found:
        yield found


@pytest.fixture(scope="module")
def url(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if _BINARY is None:
        pytest.skip("there is no `prometheus`; apt-get install prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    target = page.url.removeprefix("http://")
    config = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms"},
        "scrape_configs": [{"job_name": "models", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                _BINARY,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_ready(f"http://{address}/-/ready", folder / "log")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(20)


def _wait_until_ready(url: str, log: Path) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (OSError, urllib.error.URLError):
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)


def evidence(url: str) -> PrometheusEvidence:
    return PrometheusEvidence(Prometheus(url), series_of, interval_seconds=2.0, stale_seconds=2.0)


def traffic(page: Page, seconds: float, failed: tuple[int, int]) -> None:
    """Count 20 requests of each arm each tenth of a second, so many of (stable, canary) failed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for variant, bad in zip(("stable", "canary"), failed, strict=True):
            page.count(variant, 20 - bad)
            page.count(variant, bad, status=500)
        time.sleep(0.1)


def step(page: Page, name: str) -> Rollout:
    traffic(page, 1.0, (0, 0))
    return replace(rollout(name=name), converged_at_seconds=time.time())


def after(url: str, source: PrometheusEvidence, found: Rollout) -> Collected:
    collected = source.collect(found, _WANTED, at := time.time())
    again = evidence(url).collect(found, _WANTED, at)
    assert repr(again) == repr(collected)
    return collected


def test_a_canary_that_errs_is_found_and_another_process_finds_the_same(page: Page, url: str) -> None:
    found, source = step(page, "erring"), evidence(url)
    for _ in range(4):
        traffic(page, 2.5, (0, 1))
        collected = source.collect(found, _WANTED, time.time())
    assert collected.holds == ()
    assert 500 < collected.requests < 4000
    assert judged(collected, _WANTED).reasons[0].startswith("errors")
    assert judged(after(url, source, found), _WANTED).action is Action.ROLL_BACK


def test_an_equal_canary_is_cleared_through_a_restart_of_its_server(page: Page, url: str) -> None:
    found, source = step(page, "equal"), evidence(url)
    traffic(page, 5.0, (0, 0))
    page.restart()
    traffic(page, 6.0, (0, 0))
    collected = after(url, source, found)
    assert collected.holds == ()
    assert judged(collected, _WANTED).action is Action.PROMOTE
    assert named(collected, "slow answers").units > 500


def test_a_target_that_is_gone_is_stale(page: Page, url: str) -> None:
    found, source = step(page, "stale"), evidence(url)
    traffic(page, 2.0, (0, 0))
    page.away = True
    time.sleep(3.5)
    collected = source.collect(found, _WANTED, time.time())
    page.away = False
    assert [one.split(":")[0] for one in collected.holds] == [
        "the metrics of 'stable' are stale",
        "the metrics of 'canary' are stale",
    ]


def test_the_queries_of_istio_and_envoy_are_understood_and_nonsense_is_an_error(url: str) -> None:
    client, now = Prometheus(url), time.time()
    for series in (istio_series("shop", "m-predictor"), envoy_series("shop|canary")):
        for selector in (series.requests, series.failed, series.refused, series.buckets):
            assert client.since(selector, now - 60, now) == []
    [up] = client.query("up", now)
    assert up.labels["job"] == "models"
    assert len(client.query_range("up", now - 2, now, 0.5)[0].samples) >= 2
    with pytest.raises(ServiceError, match=r"answered 400.*parse error"):
        client.query("up{", now)
    holds = evidence("http://127.0.0.1:9").collect(rollout(), _WANTED, now).holds
    assert "the metrics cannot be read" in holds[0]
