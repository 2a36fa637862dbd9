"""The stand-in is the API of the installed client: it has no route, field or value of its own."""

import urllib.error
import urllib.request

import kfp
import pytest

from cd4ml.adapters.kubeflow.remote_client import equals
from tests.kubeflow.contract import faults, operations
from tests.kubeflow.listing import FIELDS
from tests.kubeflow.server import ApiServer, api_server
from tests.kubeflow.state import State


def sdk(url):
    with pytest.warns(FutureWarning, match="only works with"):
        return kfp.Client(host=url, namespace="x")


NAMES = {one.name for one in operations()}


def test_all_calls_of_the_client_are_known_with_path_body_and_answer():
    found = {one.name: one for one in operations()}
    assert len(found) > 35
    create = found["run_service_create_run"]
    assert (create.method, create.template) == ("POST", "/apis/v2beta1/runs")
    assert (create.body, create.answer) == ("V2beta1Run", "V2beta1Run")
    stop = found["run_service_terminate_run"]
    assert stop.match("/apis/v2beta1/runs/a-b:terminate") == {"run_id": "a-b"}
    assert found["run_service_get_run"].match("/apis/v2beta1/runs/a-b:terminate") is None


def test_the_stand_in_has_no_call_that_the_client_has_not():
    calls = {name for name in vars(State) if "_service_" in name or name.startswith("upload")}
    assert calls and calls <= NAMES


@pytest.mark.parametrize(
    ("kind", "value", "fault"),
    [
        ("V2beta1Run", {"runid": "x"}, "V2beta1Run.runid is no field"),
        ("V2beta1Run", {"run_id": 7}, "V2beta1Run.run_id is 7, expected str"),
        ("V2beta1Run", {"state": "DONE"}, "V2beta1Run.state is 'DONE'"),
        ("V2beta1RunDetails", {"task_details": [{"a": 1}]}, "V2beta1RunDetails.task_details[].a is no field"),
        ("V2beta1RuntimeConfig", {"params": {}}, "V2beta1RuntimeConfig.params is no field"),
        ("V2beta1ListRunsResponse", [], "V2beta1ListRunsResponse is [], expected V2beta1ListRunsResponse"),
    ],
)  # fmt: skip
def test_what_is_not_in_the_clients_models_is_found(kind, value, fault):
    assert faults(kind, value) == [fault]


def test_a_call_that_there_is_not_is_refused_and_remembered():
    with pytest.raises(AssertionError), api_server() as api:
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{api.url}/apis/v2beta1/nothing")
        assert api.faults == ["GET /apis/v2beta1/nothing is no call that there is"]


def test_filters_on_fields_that_the_server_does_not_have_are_refused_as_it_refuses_them():
    import kfp_server_api

    assert "pipeline_version_id" not in FIELDS["runs"]
    with api_server() as api:
        client = sdk(api.url)
        client.create_experiment("e", namespace="")
        with pytest.raises(kfp_server_api.ApiException, match="unrecognized field") as caught:
            client.list_experiments(filter=equals(colour="x"), namespace="")
        assert caught.value.status == 400


def test_the_methods_of_the_sdk_itself_work_on_it():
    with api_server() as api:
        client = sdk(api.url)
        assert client.get_kfp_healthz().multi_user is False
        made = client.create_experiment("e", namespace="")
        assert client.get_experiment(experiment_name="E", namespace="").experiment_id == made.experiment_id
        assert client.list_pipelines().pipelines is None
    assert isinstance(api, ApiServer)
