"""A run is started once, whatever becomes of the answer; it is found, listed and stopped."""

from dataclasses import replace

import pytest

from cd4ml.adapters.kubeflow.remote import cancel, list_runs, list_versions, look, start
from cd4ml.errors import ServiceError, UsageError
from tests.adapters.tiny_pipeline import compile_tiny
from tests.kubeflow.orders import placed
from tests.kubeflow.server import api_server

CREATE = "run_service_create_run"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return compile_tiny(tmp_path_factory.mktemp("compiled"))


@pytest.fixture
def api():
    with api_server() as server:
        yield server


def test_a_run_is_of_the_version_in_its_experiment_with_its_arguments(api, tiny, tmp_path):
    server, order = placed(api, tiny, tmp_path, experiment="mine", name="first", service_account="runner")
    run = start(server, order)
    (kept,) = api.state.runs.values()
    assert kept["pipeline_version_reference"]["pipeline_version_id"] == order.version.version_id
    assert (kept["runtime_config"], kept["service_account"]) == ({"parameters": {"what": "x"}}, "runner")
    assert (kept["display_name"], api.state.experiments[kept["experiment_id"]]["display_name"]) == (
        "first",
        "mine",
    )
    assert run.url == f"{api.url}/#/runs/details/{run.run_id}" and not run.adopted


@pytest.mark.parametrize("trouble", ["lost", 503, "cut"])
def test_a_lost_answer_starts_one_run(trouble, api, tiny, tmp_path):
    server, order = placed(api, tiny, tmp_path)
    api.troubles[CREATE] = [trouble]
    run = start(server, order, pauses_seconds=(0, 0, 0))
    assert list(api.state.runs) == [run.run_id]
    assert api.calls[CREATE] == (1 if trouble == "lost" else 2)


def test_a_server_that_stays_away_or_refuses_is_an_error(api, tiny, tmp_path):
    server, order = placed(api, tiny, tmp_path)
    api.troubles[CREATE] = [503] * 2
    with pytest.raises(ServiceError, match="answered 503"):
        start(server, order, pauses_seconds=(0, 0, 0))
    assert api.state.runs == {}
    api.troubles[CREATE] = [400]
    with pytest.raises(UsageError, match="answered 400"):
        start(server, order)
    api.tokens.add("right")
    with pytest.raises(ServiceError, match="answered 401"):
        start(server, order)


def test_an_answer_that_was_lost_the_last_time_is_found_too(api, tiny, tmp_path):
    server, order = placed(api, tiny, tmp_path)
    api.troubles[CREATE] = [503, "lost"]
    assert start(server, order, pauses_seconds=(0, 0, 0)).run_id in api.state.runs


def test_two_orders_are_two_runs(api, tiny, tmp_path):
    server, order = placed(api, tiny, tmp_path)
    assert start(server, order).run_id != start(server, order).run_id


def test_under_an_id_of_the_callers_own_the_same_order_is_one_run(api, tiny, tmp_path):
    server, order = placed(api, tiny, tmp_path)
    first, again = start(server, order, "job-1"), start(server, order, "job-1")
    assert again.run_id == first.run_id and again.adopted and not first.adopted
    other = start(server, replace(order, arguments={"what": "y"}), "job-1")
    assert other.run_id != first.run_id
    assert start(server, order, "job-2").run_id != first.run_id


def test_an_order_whose_run_has_failed_is_started_again(api, tiny, tmp_path):
    server, order = placed(api, tiny, tmp_path)
    first = start(server, order, "job-1")
    api.state.runs[first.run_id]["state"] = "FAILED"
    assert start(server, order, "job-1").run_id != first.run_id


def test_an_experiment_that_another_job_makes_meanwhile_is_taken(api, tiny, tmp_path):
    server, order = placed(api, tiny, tmp_path)
    api.state.experiment_service_create_experiment({"display_name": "cd4ml"})
    api.troubles["experiment_service_list_experiments"] = ["stale"]
    start(server, order)
    assert api.calls["experiment_service_create_experiment"] == 1
    assert len(api.state.experiments) == 1


def test_runs_are_listed_the_newest_first_page_after_page(api, tiny, tmp_path):
    server, order = placed(api, tiny, tmp_path)
    ids = [start(server, order).run_id for _ in range(2)]
    template = api.state.runs[ids[0]]
    for number in range(120):
        key = f"run-{number}"
        api.state.runs[key] = {**template, "run_id": key, "created_at": api.state.now()}
    found = list_runs(server, limit=115)
    assert [one.run_id for one in found[:2]] == ["run-119", "run-118"]
    assert len({one.run_id for one in found}) == 115
    assert api.calls["run_service_list_runs"] == 2
    assert list_runs(server, experiment="nobody's") == []
    assert len(list_runs(server, experiment="cd4ml", limit=3)) == 3


def test_versions_are_listed_the_newest_first(api, tiny, tmp_path):
    for commit in ("aaaaaaa", "bbbbbbb"):
        server, order = placed(api, tiny, tmp_path, commit=commit)
    assert [one["name"] for one in list_versions(server, order.version.pipeline_id)] == ["bbbbbbb", "aaaaaaa"]


def test_a_run_is_stopped_and_one_that_has_ended_is_left(api, tiny, tmp_path):
    server, order = placed(api, tiny, tmp_path)
    run = start(server, order)
    assert not cancel(server, run.run_id).ended
    while not (found := look(server, run.run_id)).ended:
        pass
    assert found.state == "CANCELED"
    assert cancel(server, run.run_id).ended
    assert api.calls["run_service_terminate_run"] == 1


def test_a_multi_user_installation_keeps_all_in_the_namespace(tiny, tmp_path):
    with api_server(multi_user=True, namespaces=["ours"]) as api:
        server, order = placed(api, tiny, tmp_path, namespace="ours")
        start(server, order)
        kept = [*api.state.pipelines.values(), *api.state.experiments.values()]
        assert {one["namespace"] for one in kept} == {"ours"}
        assert len(list_runs(server)) == 1
