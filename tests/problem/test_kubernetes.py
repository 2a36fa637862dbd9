"""Settings of tasks on a cluster: quantities, what goes together, and what a task takes from the defaults."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity
from pydantic import ValidationError

from cd4ml.errors import ProblemError
from cd4ml.problem.kubernetes import Kubernetes, RunSettings, TaskSettings
from cd4ml.problem.kubernetes_values import cores, size_bytes

SUFFIXES = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "M", "G", "T", "P", "E"]


def task(**said):
    return TaskSettings.model_validate(said)


def refusal(**said):
    with pytest.raises(ValidationError) as caught:
        task(**said)
    return str(caught.value.errors()[0]["msg"])


@given(number=st.integers(1, 10**6), suffix=st.sampled_from(SUFFIXES))
def test_sizes_are_what_kubernetes_takes_them_for(number, suffix):
    assert size_bytes(f"{number}{suffix}") == parse_quantity(f"{number}{suffix}")


@given(number=st.decimals("0.001", 512, places=3))
def test_processors_are_what_kubernetes_takes_them_for(number):
    assert cores(str(number)) == parse_quantity(str(number))
    millis = int(number * 1000)
    assert cores(f"{millis}m") == Decimal(millis) / 1000 == parse_quantity(f"{millis}m")


@pytest.mark.parametrize(
    "text", ["-1", "0", "0m", "1e3", "two", "", "1.5m", "0.0001", "1 ", "1k", True, [1], "٣"]
)
def test_no_amount_of_processor_is_refused(text):
    refusal(cpu={"limit": text})


@pytest.mark.parametrize(
    "text", ["-1Gi", "0", "0Gi", "1.5Gi", "8gb", "8GiB", "8 Gi", "1e3", "", 1.5, False, "٣Gi"]
)
def test_no_amount_of_memory_is_refused(text):
    refusal(memory={"limit": text})


def test_a_unit_that_only_kfp_knows_is_refused_with_the_one_that_kubernetes_knows():
    assert "write Ki" in refusal(memory={"limit": "100K"})


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"cpu": {"request": 2, "limit": "1500m"}}, "at least the request 2; found limit 1500m"),
        ({"memory": {"request": "1Gi", "limit": "1G"}}, "at least the request 1Gi; found limit 1G"),
        ({"accelerator": {"type": "gpu"}}, "such as nvidia.com/gpu"),
        ({"accelerator": {"type": "nvidia.com/gpu", "count": 0}}, "greater than or equal to 1"),
        ({"tolerations": [{"value": "x"}]}, "needs a `key`"),
        ({"tolerations": [{"key": "a", "operator": "Exists", "value": "x"}]}, "takes no value"),
        ({"tolerations": [{"key": "a", "seconds": 3}]}, "belongs to the effect NoExecute"),
        ({"node_affinity": [{"expressions": [{"key": "a"}]}]}, "In and NotIn take values"),
        ({"node_affinity": [{"expressions": [{"key": "a", "operator": "Gt", "values": ["1", "2"]}]}]}, "one"),
        ({"secrets": [{"name": "a"}]}, "`env`, `path` or both"),
        ({"secrets": [{"name": "A_b", "path": "/a"}]}, "match pattern"),
        ({"secrets": [{"name": "a", "env": {"key": "1X"}}]}, "match pattern"),
        ({"secrets": [{"name": "a.b", "path": "/a"}]}, "without dots"),
        ({"claims": [{"claim": "a", "path": "data"}]}, "an absolute path"),
        ({"claims": [{"claim": "a", "path": "/a/../b"}]}, "an absolute path"),
        ({"claims": [{"claim": "a", "path": "/kfp-workspace/x"}]}, "mounts '/kfp-workspace/x' itself"),
        ({"claims": [{"claim": "a", "path": "/a", "subpath": "x/../.."}]}, "within the volume"),
        ({"env": {"HF_TOKEN": "x"}}, "put it into a Secret"),
        ({"env": {"AWS_ACCESS_KEY_ID": "x"}}, "put it into a Secret"),
        ({"env": {"DEBUG": True}}, 'in quotes, such as "true"'),
        ({"labels": {"pipelines.kubeflow.org/x": "y"}}, "are its own"),
        ({"labels": {"a b": "y"}}, "such as team or example.org/team"),
        ({"labels": {"a": "x" * 64}}, "match pattern"),
        ({"retries": {"count": -1}}, "greater than or equal to 0"),
        ({"timeout": "0s"}, "expected between 1s and"),
        ({"timeout": "9999999999s"}, "expected between 1s and"),
        ({"security": {"user": 0}}, "greater than or equal to 1"),
    ],
)
def test_what_no_cluster_would_take_is_refused(said, message):
    assert message in refusal(**said)


def test_what_is_named_once_on_a_pod_is_named_once_here():
    one, two = {"name": "a", "env": {"k": "X"}}, {"name": "b", "env": {"k": "X"}}
    assert "variable 'X' is given twice" in refusal(secrets=[one], config_maps=[two])
    assert "variable 'X' is given twice" in refusal(secrets=[one], env={"X": "1"})
    mounted = {"name": "a", "path": "/a"}
    assert "path '/a' is given twice" in refusal(secrets=[mounted], claims=[{"claim": "c", "path": "/a"}])
    # Kubeflow Pipelines would make two volumes of one name.
    assert "volume name 'a' is given twice" in refusal(
        secrets=[mounted], config_maps=[{"name": "a", "path": "/b"}]
    )
    assert task(secrets=[one, {"name": "a", "env": {"other": "Y"}}]).secrets[1].env == {"other": "Y"}


def test_a_task_merges_mappings_and_replaces_lists_and_takes_away_by_null():
    found = Kubernetes.model_validate(
        {
            "defaults": {
                "cpu": {"request": 1, "limit": 2},
                "node_selector": {"pool": "cpu", "disk": "ssd"},
                "tolerations": [{"key": "spot", "operator": "Exists"}],
                "timeout": "1h",
                "env": {"A": "1"},
            },
            "tasks": {
                "search": {
                    "cpu": {"limit": 8},
                    "node_selector": {"pool": "gpu"},
                    "tolerations": [],
                    "timeout": None,
                    "env": {"B": "2"},
                },
                "search-2": {"cpu": {"request": None}},
            },
        }
    )
    search = found.of("search")
    assert (search.cpu.request, search.cpu.limit) == ("1", "8")
    assert search.node_selector == {"pool": "gpu", "disk": "ssd"}
    assert search.env == {"A": "1", "B": "2"}
    assert search.tolerations == []
    assert search.timeout is None and "timeout" in search.model_fields_set
    assert "memory" not in search.model_fields_set
    second = found.of("search", "search-2")
    assert second.cpu.limit == "8" and second.cpu.request is None
    assert found.of("other") == found.defaults


def test_a_task_that_does_not_go_with_the_defaults_is_refused_by_name():
    said = {"defaults": {"memory": {"limit": "1Gi"}}, "tasks": {"search": {"memory": {"request": "2Gi"}}}}
    with pytest.raises(ValidationError) as caught:
        Kubernetes.model_validate(said)
    cause = caught.value.errors()[0]["ctx"]["error"]
    assert isinstance(cause, ProblemError)
    assert cause.path == ("tasks", "search", "memory")


def test_the_runs_of_a_pipeline_have_what_is_said_of_it_over_all_runs():
    said = {"runs": {"deadline": "1d", "ttl": {"failed": "3d"}}}
    said["pipelines"] = {"delivery": {"deadline": None, "ttl": {"finished": "1d"}}}
    found = Kubernetes.model_validate(said)
    assert found.of_runs("training") == RunSettings.model_validate(said["runs"])
    assert found.of_runs("delivery").deadline is None
    assert found.of_runs("delivery").ttl.failed.days == 3
    assert found.told() == {"all runs": ["deadline", "ttl"], "runs of delivery": ["deadline", "ttl"]}
