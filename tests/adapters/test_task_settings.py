"""Settings on a compiled pipeline give what kfp itself compiles from them, and nothing else changes."""

import copy
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kfp import compiler, dsl
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from cd4ml.adapters.kubeflow.compiled import documents, names, package
from cd4ml.adapters.kubeflow.task_settings import check_settings, rendered, tasks_of, with_settings
from cd4ml.adapters.kubeflow.task_view import effective, rows
from cd4ml.errors import ProblemError
from cd4ml.problem.kubernetes import Kubernetes
from tests.adapters.kfp_settings import asked, configured

pytestmark = pytest.mark.xdist_group("compile")

WHOLE = {
    "cpu": {"request": "500m", "limit": 2},
    "memory": {"request": "512Mi", "limit": "3G"},
    "accelerator": {"type": "nvidia.com/gpu", "count": 2},
    "node_selector": {"cloud.example/pool": "gpu", "disk": "ssd"},
    "tolerations": [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "spot", "value": "true", "effect": "NoExecute", "seconds": 60},
        {"operator": "Exists"},
    ],
    "node_affinity": [
        {"expressions": [{"key": "zone", "values": ["a", "b"]}, {"key": "slow", "operator": "DoesNotExist"}]},
        {"expressions": [{"key": "age", "operator": "Lt", "values": ["5"]}], "weight": 10},
    ],
    "image_pull_secrets": ["registry"],
    "image_pull_policy": "IfNotPresent",
    "secrets": [
        {"name": "lake", "env": {"user": "LAKE_USER", "key": "LAKE_KEY"}, "optional": True},
        {"name": "licence", "path": "/mnt/licence", "env": {"id": "LICENCE_ID"}},
    ],
    "config_maps": [{"name": "settings", "env": {"region": "REGION"}, "path": "/mnt/settings"}],
    "claims": [
        {"claim": "data", "path": "/mnt/data", "subpath": "sales"},
        {"claim": "old", "path": "/mnt/old"},
    ],
    "empty_dirs": [
        {"name": "scratch", "path": "/scratch", "size": "5Gi"},
        {"name": "shm", "path": "/dev/shm", "medium": "Memory"},
    ],
    "env": {"LOG_LEVEL": "debug", "EMPTY": ""},
    "labels": {"team": "forecast", "sidecar.istio.io/inject": "false"},
    "annotations": {"example.org/owner": "sales & co"},
    "retries": {"count": 3, "wait": "10s", "factor": 1.5, "longest": "1h"},
    "timeout": "2h",
    "security": {"user": 2000, "group": 0, "non_root": True},
}
RUN = {
    "workspace": {"size": "20Gi", "storage_class": "fast", "access_modes": ["ReadWriteMany"]},
    "deadline": "6h",
    "ttl": {"finished": "7d", "succeeded": "1d", "failed": "30d"},
}


@dsl.component(base_image="registry.example.org/python-x:1", install_kfp_package=False)
def fit_one(part: int) -> int:
    """Fit."""
    return part


@dsl.component(base_image="registry.example.org/python-x:1", install_kfp_package=False)
def tell(part: int) -> None:
    """Tell."""


def made(folder, each=None, config=None):
    """Compile a pipeline with a loop and a condition; `each` is asked of all tasks by name."""

    def ask(task, name):
        return asked(task, each.of(name)) if each else task

    @dsl.pipeline(name="made", pipeline_config=config)
    def pipeline(start: int = 1):
        first = ask(fit_one(part=start), "fit-one")
        with dsl.ParallelFor([1, 2]) as item:
            ask(fit_one(part=item), "fit-one")
        with dsl.If(first.output == 1):
            ask(tell(part=1), "tell")

    file = folder / f"{'with' if each else 'plain'}.yaml"
    compiler.Compiler().compile(pipeline, str(file))
    return file


def checked(found):
    """Parse the documents as kfp's server does: what it does not know is refused."""
    json_format.ParseDict(found[0], pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(found[0]["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())
    for one in found[1:]:
        json_format.ParseDict(one, pipeline_spec_pb2.PlatformSpec())
        for platform in one["platforms"].values():
            json_format.ParseDict(platform, pipeline_spec_pb2.SinglePlatformSpec())
            for executor in platform.get("deploymentSpec", {}).get("executors", {}).values():
                json_format.ParseDict(executor, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
    return found


def of_all(**said):
    return Kubernetes.model_validate({"defaults": said})


def platform_of(found, name):
    return found[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"].get(f"exec-{name}", {})


def resources_of(found, name):
    return next(task for task in tasks_of(found[0]) if task.name == name).container["resources"]


@pytest.mark.parametrize("key", [*sorted(WHOLE), "all"])
def test_each_setting_gives_the_file_that_kfp_compiles_from_it(key, tmp_path):
    said = WHOLE if key == "all" else {key: WHOLE[key]}
    wanted = Kubernetes.model_validate({"tasks": {"fit-one": said}})
    theirs = made(tmp_path, wanted).read_text()
    assert rendered(made(tmp_path), wanted) == theirs
    checked(list(yaml.safe_load_all(theirs)))


def test_the_settings_of_a_run_are_those_of_kfp(tmp_path):
    wanted = Kubernetes.model_validate({"runs": RUN, "pipelines": {"made": {"deadline": "2h"}}})
    plain = made(tmp_path)
    text = rendered(plain, wanted)
    said = wanted.of_runs("made")
    assert text == made(tmp_path, config=configured(said)).read_text()
    found = checked(list(yaml.safe_load_all(text)))[1]["platforms"]["kubernetes"]["pipelineConfig"]
    assert found["activeDeadlineSeconds"] == 7200
    assert found["resourceTtlOnFailure"] == 30 * 86400


sizes = st.builds(
    "{}{}".format, st.integers(1, 2000), st.sampled_from(["", "Ki", "Mi", "Gi", "M", "G", "Ti"])
)
processors = st.one_of(
    st.integers(1, 64), st.integers(1, 64000).map("{}m".format), st.sampled_from([0.5, 2.25])
)
texts = st.text("abcXYZ 09:/'\"#\n-é", max_size=8)
some = st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.fixed_dictionaries({}, optional={"limit": processors}),
        "memory": st.fixed_dictionaries({}, optional={"request": sizes}),
        "env": st.dictionaries(st.sampled_from(["A", "B_1", "_c"]), texts),
        "annotations": st.dictionaries(st.sampled_from(["a", "b.org/c"]), texts),
        "retries": st.fixed_dictionaries(
            {"count": st.integers(0, 9), "wait": st.integers(1, 9**5).map("{}s".format)},
            optional={"factor": st.floats(1, 10)},
        ),
        "timeout": st.integers(1, 2**31 - 1).map("{}s".format),
        "security": st.fixed_dictionaries({"user": st.integers(1, 2**31)}),
    },
)


@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(said=some)
def test_whatever_the_values_the_file_is_the_one_that_kfp_compiles(said, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    wanted = of_all(**said)
    assert rendered(made(folder), wanted) == made(folder, wanted).read_text()


@pytest.mark.parametrize("name", names())
def test_the_installed_pipelines_with_all_settings_are_what_the_server_can_read(name):
    plain = documents(package(name))
    before = copy.deepcopy(plain)
    found = checked(with_settings(plain, Kubernetes.model_validate({"defaults": WHOLE, "runs": RUN})))
    assert plain == before
    assert len(tasks_of(found[0])) > 5
    for task in tasks_of(found[0]):
        assert task.container["resources"]["resourceCpuLimit"] == "2"
        assert [entry["retryPolicy"]["maxRetryCount"] for entry in task.entries] == [3]
        assert platform_of(found, task.name)["activeDeadlineSeconds"] == "7200"


@pytest.mark.parametrize("name", names())
def test_without_settings_an_installed_pipeline_stays_byte_for_byte(name):
    text = package(name).read_text()
    assert rendered(package(name)) == text
    assert rendered(package(name), Kubernetes()) == text
    # Written anew it is the same too: a setting changes its own lines and no other.
    assert rendered(package(name), of_all(labels={})) == text


def test_one_setting_of_one_task_changes_its_lines_alone():
    text = rendered(
        package("training"), Kubernetes.model_validate({"tasks": {"search": {"cpu": {"limit": 8}}}})
    )
    pairs = zip(package("training").read_text().splitlines(), text.splitlines(), strict=True)
    changed = [pair for pair in pairs if pair[0] != pair[1]]
    assert [(old.strip(), new.strip()) for old, new in changed] == [
        ("cpuLimit: 4.0", "cpuLimit: 8.0"),
        ("resourceCpuLimit: '4'", "resourceCpuLimit: '8'"),
    ]


def test_what_a_pipeline_brings_stays_unless_it_is_said_otherwise():
    plain = documents(package("training"))
    secret = {"name": "lake", "env": {"id": "AWS_ACCESS_KEY_ID"}}
    found = with_settings(plain, of_all(secrets=[secret], security={"user": 2000}, cpu={"limit": 9}))
    look = platform_of(found, "look")
    sources = {one["secretName"]: one for one in look["secretAsEnv"]}
    variables = {name: {pair["envVar"] for pair in one["keyToEnv"]} for name, one in sources.items()}
    assert variables == {
        "cd4ml-store": {"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"},  # the other comes from elsewhere now
        "cd4ml-signing": {"CD4ML_SIGNING_KEY"},
        "lake": {"AWS_ACCESS_KEY_ID"},
    }
    assert look["securityContext"] == {"runAsUser": "2000", "runAsGroup": "1000", "runAsNonRoot": True}
    assert resources_of(found, "look")["resourceCpuRequest"] == "0.5"


def test_null_takes_away_what_a_pipeline_brings_or_the_defaults_say():
    said = {"defaults": {"security": None, "retries": None, "secrets": None, "node_selector": {"a": "b"}}}
    said["tasks"] = {"search": {"cpu": None, "memory": {"limit": None}, "node_selector": None}}
    found = with_settings(documents(package("training")), Kubernetes.model_validate(said))
    for task in tasks_of(found[0]):
        assert not {"securityContext", "secretAsEnv"} & platform_of(found, task.name).keys()
        assert not any("retryPolicy" in entry for entry in task.entries)
    assert resources_of(found, "search") == {"memoryRequest": 4.294967296, "resourceMemoryRequest": "4096Mi"}
    assert platform_of(found, "search") == {}
    assert platform_of(found, "choose") == {"nodeSelector": {"labels": {"a": "b"}}}


def test_the_example_of_the_page_is_right_and_gives_what_it_says():
    page = (Path(__file__).parents[2] / "docs/kubernetes-settings.md").read_text()
    example = page.partition("```yaml\n")[2].partition("```")[0]
    said = Kubernetes.model_validate(yaml.safe_load(example)["kubernetes"])
    check_settings(said)
    found = checked(with_settings(documents(package("training")), said))
    told = effective(found)
    assert told["search"]["accelerator"] == "1 x nvidia.com/gpu"
    assert told["search"]["memory"] == "16Gi to 32Gi"
    assert told["snapshot"]["volumes"] == ["raw-data at /mnt/raw"]
    assert told["await-approval"]["timeout_seconds"] == 0
    assert told["report"]["timeout_seconds"] == 7200
    assert told["look"]["secrets"] == ["cd4ml-signing", "cd4ml-store", "lake"]


def test_all_that_was_said_can_be_taken_away_again(tmp_path):
    plain = documents(made(tmp_path))
    whole = with_settings(plain, of_all(**WHOLE))
    assert with_settings(whole, of_all(**dict.fromkeys(WHOLE))) == plain


def test_what_is_said_anew_takes_the_place_of_the_variable_and_the_path_that_were_there(tmp_path):
    whole = with_settings(documents(made(tmp_path)), of_all(**WHOLE))
    said = {
        "env": {"LAKE_KEY_ID_FILE": "x", "REGION": "north"},
        "claims": [{"claim": "new", "path": "/scratch"}],
    }
    found = with_settings(whole, of_all(**said, labels={"team": "other"}))
    tell = platform_of(found, "tell")
    assert "configMapAsEnv" not in tell
    assert [one["volumeName"] for one in tell["emptyDirMounts"]] == ["shm"]
    assert [one["constant"] for one in tell["pvcMount"]] == ["data", "old", "new"]
    assert tell["podMetadata"]["labels"] == {"team": "other", "sidecar.istio.io/inject": "false"}
    container = next(task for task in tasks_of(found[0]) if task.name == "tell").container
    assert [one["name"] for one in container["env"]] == ["LOG_LEVEL", "EMPTY", "LAKE_KEY_ID_FILE", "REGION"]


def test_a_component_is_all_of_its_tasks_and_a_task_is_itself():
    said = {"tasks": {"await-phase": {"timeout": "1h"}, "await-phase-3": {"timeout": "2h"}}}
    found = with_settings(documents(package("delivery")), Kubernetes.model_validate(said))
    times = {name: one["timeout_seconds"] for name, one in effective(found).items()}
    assert times["await-phase"] == times["await-phase-2"] == 3600
    assert times["await-phase-3"] == 7200
    assert times["conclude"] == 0


@pytest.mark.parametrize(
    ("said", "path", "message"),
    [
        (
            {"tasks": {"serch": {}}},
            ("tasks", "serch"),
            "no pipeline has a task 'serch'; did you mean 'search'",
        ),
        ({"tasks": {"x": {}}}, ("tasks", "x"), "there are approval-page, await-approval, "),
        ({"pipelines": {"trainin": {}}}, ("pipelines", "trainin"), "did you mean 'training'"),
        ({"defaults": {"cpu": {"limit": "250m"}}}, ("defaults", "cpu"), "ask for 0.5 and be limited to 250m"),
        (
            {"tasks": {"search": {"memory": {"request": "9Gi"}}}},
            ("tasks", "search", "memory"),
            "'search' would ask for 9Gi and be limited to 8Gi; give both",
        ),
    ],
)
def test_what_does_not_fit_the_pipelines_is_refused_with_its_place(said, path, message):
    with pytest.raises(ProblemError, match=message) as caught:
        check_settings(Kubernetes.model_validate(said))
    assert caught.value.path == ("kubernetes", *path)


def test_tasks_of_other_installed_pipelines_are_let_pass():
    said = Kubernetes.model_validate({"tasks": {"conclude": {"timeout": "1h"}}})
    plain = documents(package("training"))
    assert with_settings(plain, said) == plain


def test_what_each_task_gets_is_told_in_words():
    found = effective(with_settings(documents(package("training")), of_all(**WHOLE)))
    search = found["search"]
    assert search["cpu"] == "500m to 2"
    assert search["accelerator"] == "2 x nvidia.com/gpu"
    assert search["tolerations"] == ["nvidia.com/gpu:NoSchedule", "spot=true:NoExecute", "all"]
    assert search["nodes"][0] == "cloud.example/pool=gpu"
    assert search["nodes"][-1] == "age Lt 5 (preferred, 10)"
    assert search["secrets"] == ["lake", "licence"]
    assert search["volumes"][0] == "data at /mnt/data"
    assert "7200s" in rows(found)[0]
