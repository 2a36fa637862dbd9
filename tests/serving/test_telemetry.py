import math
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.utils import floatToGoString

from cd4ml.errors import UsageError
from cd4ml.serving.telemetry import (
    ERROR_KINDS,
    EVENT_RESULTS,
    PROBABILITY_EDGES,
    SECONDS_EDGES,
    VALUE_EDGES,
    Telemetry,
    count_across_workers,
    error_kind,
    page,
)
from tests.serving.counting_workers import REQUESTS, ROWS

OF = {"model": "shop", "version": "7", "variant": "stable"}


def made(task="regression"):
    registry = CollectorRegistry()
    return registry, Telemetry("shop", "7", "stable", registry, task)


def value(registry, name, **labels):
    return registry.get_sample_value(name, OF | labels)


def test_a_request_is_counted_by_protocol_and_outcome():
    registry, telemetry = made()
    telemetry.observe("v1", 0.0005, [1.0])
    telemetry.observe("v1", 0.0005, [1.0])
    telemetry.observe("v2", 0.0005, status=422)
    telemetry.observe("v2", 0.0005, status=500)
    count = "cd4ml_requests_total"
    assert value(registry, count, protocol="v1", outcome="ok") == 2
    assert value(registry, count, protocol="v2", outcome="client_error") == 1
    assert value(registry, count, protocol="v2", outcome="server_error") == 1
    assert value(registry, count, protocol="v2", outcome="ok") == 0


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *[(200, ""), (399, ""), (400, "malformed"), (404, "client"), (413, "too_large"), (422, "refused")],
        *[(408, "timeout"), (504, "timeout"), (503, "overloaded"), (500, "internal"), (599, "internal")],
    ],
)
def test_a_status_has_one_kind_of_error(status, kind):
    assert error_kind(status) == kind


@given(st.integers(100, 999))
@settings(deadline=None, max_examples=50)
def test_kinds_of_errors_are_a_closed_set(status):
    assert (error_kind(status) in ERROR_KINDS) == (status >= 400)


def test_an_error_is_counted_by_kind_and_all_kinds_show_before_their_first_error():
    registry, telemetry = made()
    telemetry.observe("v1", 0.1, status=413)
    errors = {
        kind: value(registry, "cd4ml_request_errors_total", protocol="v1", kind=kind) for kind in ERROR_KINDS
    }
    assert errors == dict.fromkeys(ERROR_KINDS, 0) | {"too_large": 1}


def test_a_400_that_names_a_field_is_refused_and_another_one_malformed():
    registry, telemetry = made()
    telemetry.observe("v1", 0.1, status=400, field="hr")
    telemetry.observe("v1", 0.1, status=400)
    for kind in ("refused", "malformed"):
        assert value(registry, "cd4ml_request_errors_total", protocol="v1", kind=kind) == 1


def test_latencies_below_a_millisecond_are_told_apart():
    registry, telemetry = made()
    for seconds in (0.00015, 0.00045, 0.00055):
        telemetry.observe("v1", seconds, [1.0])
    bucket = "cd4ml_request_seconds_bucket"
    found = [
        value(registry, bucket, protocol="v1", outcome="ok", le=str(le)) for le in (0.0002, 0.0005, 0.0006)
    ]
    assert found == [1, 2, 3]
    assert sum(edge < 0.001 for edge in SECONDS_EDGES) >= 5


def test_latency_of_refused_requests_does_not_mix_with_that_of_answers():
    registry, telemetry = made()
    telemetry.observe("v1", 0.5, [1.0])
    telemetry.observe("v1", 0.0001, status=400)
    assert value(registry, "cd4ml_request_seconds_sum", protocol="v1", outcome="ok") == 0.5


@pytest.mark.parametrize(
    ("task", "family", "edges"),
    [
        ("regression", "cd4ml_predicted_value", VALUE_EDGES),
        ("classification", "cd4ml_predicted_probability", PROBABILITY_EDGES),
    ],
)
@given(data=st.data(), many=st.booleans())
@settings(deadline=None, max_examples=25)
def test_predictions_fall_into_the_bucket_that_holds_them(task, family, edges, data, many):
    low = -1e7 if task == "regression" else 0.0
    one = st.one_of(st.sampled_from(edges), st.floats(low, 1e7 if low else 1.0))
    predictions = data.draw(st.lists(one, min_size=64 if many else 1, max_size=80 if many else 20))
    registry, telemetry = made(task)
    telemetry.observe("v1", 0.001, np.array(predictions) if many else predictions)
    samples = [one for metric in registry.collect() for one in metric.samples]
    found = {one.labels["le"]: one.value for one in samples if one.name == f"{family}_bucket"}
    ends = (*edges, math.inf)
    assert found == {floatToGoString(end): sum(p <= end for p in predictions) for end in ends}
    if task == "classification":
        assert value(registry, f"{family}_sum") == pytest.approx(math.fsum(predictions))


@pytest.mark.parametrize("rows", [3, 500])
def test_nan_is_counted_apart_and_does_not_spoil_the_sum(rows):
    registry, telemetry = made("classification")
    telemetry.observe("v1", 0.001, [math.nan, math.inf] + [0.5] * (rows - 2))
    assert value(registry, "cd4ml_predicted_probability_sum") == 0.5 * (rows - 2)
    assert value(registry, "cd4ml_predicted_probability_count") == rows - 2
    assert value(registry, "cd4ml_predictions_not_finite_total") == 2


def test_versions_and_variants_are_counted_apart_in_one_registry():
    registry, telemetry = made()
    other = Telemetry("shop", "8", "canary", registry)
    telemetry.observe("v1", 0.001, [1.0])
    other.observe("v1", 0.001, [1.0])
    other.observe("v1", 0.001, [1.0])
    labels = OF | {"version": "8", "variant": "canary", "protocol": "v1", "outcome": "ok"}
    assert registry.get_sample_value("cd4ml_requests_total", labels) == 2
    assert value(registry, "cd4ml_requests_total", protocol="v1", outcome="ok") == 1


def test_the_same_version_loaded_again_counts_on():
    registry, telemetry = made()
    telemetry.observe("v1", 0.001, [1.0])
    Telemetry("shop", "7", "stable", registry).observe("v1", 0.001, [1.0])
    assert value(registry, "cd4ml_requests_total", protocol="v1", outcome="ok") == 2


def test_what_became_of_events_is_counted():
    registry, telemetry = made()
    telemetry.count_events("full", 5)
    found = {result: value(registry, "cd4ml_events_total", result=result) for result in EVENT_RESULTS}
    assert found == dict.fromkeys(EVENT_RESULTS, 0) | {"full": 5}


def test_threads_lose_no_count():
    registry, telemetry = made("classification")

    def ask():
        for _ in range(300):
            telemetry.observe("v1", 0.0004, [0.5, 0.25])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(registry, "cd4ml_requests_total", protocol="v1", outcome="ok") == 2400
    assert value(registry, "cd4ml_predicted_probability_count") == 4800
    assert value(registry, "cd4ml_predicted_probability_sum") == 1800


def test_a_pickled_one_counts_in_the_default_registry():
    again = pickle.loads(
        pickle.dumps(Telemetry("pickled", "1", "stable", CollectorRegistry(), "classification"))
    )
    again.observe("v1", 0.001, [0.5])
    labels = {"model": "pickled", "version": "1", "variant": "stable"}
    assert REGISTRY.get_sample_value("cd4ml_predicted_probability_count", labels) == 1
    assert REGISTRY.get_sample_value("cd4ml_predicted_value_count", labels) is None


def test_the_page_is_what_prometheus_reads():
    registry, telemetry = made()
    telemetry.observe("v1", 0.001, [1.0])
    body, content_type = page(registry)
    families = {family.name for family in text_string_to_metric_families(body.decode())}
    assert content_type.startswith("text/plain")
    assert {"cd4ml_requests", "cd4ml_request_seconds", "cd4ml_predicted_value"} <= families
    assert page(registry, "application/openmetrics-text; version=1.0.0")[0].endswith(b"# EOF\n")


def test_counting_across_workers_has_to_be_asked_for_before_counters_are_made(tmp_path):
    with pytest.raises(UsageError, match="before kserve is imported"):
        count_across_workers(tmp_path)
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def test_the_page_adds_up_all_workers_and_keeps_what_a_killed_one_counted(tmp_path):
    command = [sys.executable, "-m", "tests.serving.counting_workers", str(tmp_path / "new"), "3"]
    root = Path(__file__).parents[2]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=root)
    samples = {
        (sample.name, *(sample.labels.get(name) for name in ("protocol", "outcome", "kind", "le"))): sample
        for family in text_string_to_metric_families(run.stdout)
        for sample in family.samples
    }
    requests = samples["cd4ml_requests_total", "v1", "ok", None, None]
    assert requests.value == 3 * REQUESTS
    assert requests.labels.items() >= {"model": "shop", "version": "7", "variant": "canary"}.items()
    assert "pid" not in requests.labels
    assert samples["cd4ml_request_errors_total", "v2", None, "refused", None].value == 3
    assert samples["cd4ml_request_seconds_bucket", "v1", "ok", None, "0.0004"].value == 3 * REQUESTS
    rows = 3 * REQUESTS * ROWS
    assert samples["cd4ml_predicted_probability_count", None, None, None, None].value == rows
    assert samples["cd4ml_predicted_probability_sum", None, None, None, None].value == pytest.approx(
        0.2 * rows
    )
    assert samples["cd4ml_predicted_probability_bucket", None, None, None, "0.15"].value == 0
