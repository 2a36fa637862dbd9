"""Recurring runs: made, replaced, paused, resumed, deleted."""

from dataclasses import replace

import pytest

from cd4ml.adapters.kubeflow.remote_schedules import (
    When,
    create,
    delete,
    list_schedules,
    pause,
    resume,
    seconds,
)
from cd4ml.errors import NotFoundError, ServiceError, UsageError
from tests.adapters.tiny_pipeline import compile_tiny
from tests.kubeflow.orders import placed
from tests.kubeflow.server import api_server

CREATE = "recurring_run_service_create_recurring_run"
DAILY = When(cron="0 6 * * *")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return compile_tiny(tmp_path_factory.mktemp("compiled"))


@pytest.fixture
def api():
    with api_server() as server:
        yield server


@pytest.fixture
def placed_order(api, tiny, tmp_path):
    return placed(api, tiny, tmp_path, name="nightly")


@pytest.mark.parametrize(("text", "found"), [("30s", 30), ("5m", 300), ("6h", 21600), ("2d", 172800)])
def test_intervals_are_read(text, found):
    assert seconds(text) == found


@pytest.mark.parametrize("text", ["", "6", "0h", "-1h", "1.5h", "1w", "6 h"])
def test_what_is_no_interval_is_refused(text):
    with pytest.raises(UsageError, match="such as 6h"):
        seconds(text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "a cron expression or an interval"),
        ({"cron": "0 6 * * *", "interval_seconds": 5}, "and not both"),
        ({"cron": "at six"}, "5 fields, or 6"),
        ({"cron": "0 6 * * ;"}, "5 fields, or 6"),
        ({"interval_seconds": -1}, "must be positive"),
        ({"interval_seconds": 60, "concurrency": 11}, "1 to 10 runs"),
        ({"interval_seconds": 60, "start": "tomorrow"}, "such as 2026-01-31T06:00:00Z; got 'tomorrow'"),
        ({"interval_seconds": 60, "end": "2026-01-31T06:00:00"}, "RFC 3339 with a zone"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(given, message):
    with pytest.raises(UsageError, match=message):
        When(**given)


def test_a_cron_schedule_is_made_as_it_is_asked_for(api, placed_order):
    server, order = placed_order
    made, replaced = create(server, order, DAILY)
    (kept,) = api.state.recurring.values()
    assert kept["trigger"]["cron_schedule"] == {"cron": "0 0 6 * * *"}
    assert (kept["no_catchup"], kept["max_concurrency"], kept["mode"]) == (True, "1", "ENABLE")
    assert kept["pipeline_version_reference"]["pipeline_version_id"] == order.version.version_id
    assert kept["runtime_config"]["parameters"] == {"what": "x"}
    assert (made.name, made.when, made.status, replaced) == ("nightly", "cron 0 0 6 * * *", "ENABLED", [])


def test_an_interval_with_bounds_and_catchup_is_made_as_it_is_asked_for(api, placed_order):
    when = When(interval_seconds=3600, catchup=True, concurrency=3, start="2026-01-01T00:00:00Z")
    create(*placed_order, when)
    (kept,) = api.state.recurring.values()
    assert kept["trigger"] == {
        "periodic_schedule": {"interval_second": "3600", "start_time": "2026-01-01T00:00:00Z"}
    }
    assert (kept["no_catchup"], kept["max_concurrency"]) == (False, "3")


def test_the_same_schedule_again_stays_and_another_one_replaces_it(api, placed_order):
    server, order = placed_order
    first, _ = create(server, order, DAILY)
    assert create(server, order, DAILY) == (first, [])
    second, replaced = create(server, replace(order, arguments={"what": "y"}), DAILY)
    assert replaced == [first.schedule_id] and list(api.state.recurring) == [second.schedule_id]
    pause(server, "nightly")
    third, replaced = create(server, replace(order, arguments={"what": "y"}), DAILY)
    assert replaced == [second.schedule_id] and third.status == "ENABLED"


def test_a_lost_answer_makes_one_schedule(api, placed_order):
    api.troubles[CREATE] = ["lost"]
    made, _ = create(*placed_order, DAILY)
    assert list(api.state.recurring) == [made.schedule_id]
    api.troubles[CREATE] = ["cut"]
    server, order = placed_order
    with pytest.raises(ServiceError):
        create(server, replace(order, name="other"), DAILY)


def test_a_schedule_is_paused_resumed_and_deleted_by_name_or_id(api, placed_order):
    server, order = placed_order
    made, _ = create(server, order, DAILY)
    pause(server, "nightly")
    assert [one.status for one in list_schedules(server)] == ["DISABLED"]
    resume(server, made.schedule_id)
    assert [one.status for one in list_schedules(server)] == ["ENABLED"]
    delete(server, "nightly")
    assert api.state.recurring == {}
    with pytest.raises(NotFoundError, match="found 'nightly'"):
        delete(server, "nightly")


def test_a_name_that_two_schedules_have_is_refused_with_their_ids(api, placed_order):
    server, order = placed_order
    made, _ = create(server, order, DAILY)
    twin = {**api.state.recurring[made.schedule_id], "recurring_run_id": "twin"}
    api.state.recurring["twin"] = twin
    with pytest.raises(UsageError, match=rf"2 schedules named 'nightly'.*{made.schedule_id}.*twin"):
        pause(server, "nightly")
    pause(server, "twin")
    assert api.state.recurring["twin"]["status"] == "DISABLED"
