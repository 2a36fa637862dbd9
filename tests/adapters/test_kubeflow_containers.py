"""A compiled pipeline runs in containers: what they see, what their errors become, and that none is left."""

import os
import signal
import subprocess
import sys

import pytest
from docker import from_env

from cd4ml.adapters.kubeflow import run_local
from cd4ml.adapters.kubeflow.containers import check_engine, run_container
from cd4ml.errors import Cd4mlError, ContractError, ServiceError
from tests.adapters.container_engine import IMAGE, engine
from tests.adapters.s3_server import environment
from tests.adapters.test_kubeflow_killed import CODE, wait_until
from tests.adapters.tiny_pipeline import compile_tiny

pytestmark = pytest.mark.xdist_group("kubeflow")

ARGUMENTS = {"what": "x", "names": ["a", "b"]}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return compile_tiny(tmp_path_factory.mktemp("compiled"))


@pytest.fixture
def docker():
    with engine() as server:
        yield server


def test_a_run_in_containers_gives_what_a_run_in_processes_gives(docker, tiny, tmp_path):
    run = run_local(tiny, ARGUMENTS, tmp_path / "containers", runner="docker")
    other = run_local(tiny, ARGUMENTS, tmp_path / "processes")
    assert run.path("judge", "table").read_text() == other.path("judge", "table").read_text()
    assert run.parameters("register") == {"registered": "x"}
    assert "said by mark" in run.task("mark").log.read_text()
    assert len(docker.state.created) == len(docker.state.removed) == 6


def test_a_container_writes_to_its_own_outputs_and_the_events_alone(docker, tiny, tmp_path):
    with environment(CD4ML_TEST_OF_CONTAINERS="seen"):
        run = run_local(tiny, {"what": str(tiny), "names": ["a"]}, tmp_path, runner="docker")
    roots = sorted(
        str(run.folder / "tasks" / one.log.parent.relative_to(run.folder / "tasks")) for one in run.tasks
    )
    events, seen = str(run.folder / "tasks/events.jsonl"), []
    for asked in docker.state.created:
        mounts = {one["Target"]: one["ReadOnly"] for one in asked["HostConfig"]["Mounts"]}
        assert [one["Source"] for one in asked["HostConfig"]["Mounts"]] == list(mounts)
        assert [path for path, only_read in mounts.items() if only_read] == [
            str(tmp_path / "runs"),
            str(tiny),
        ]
        (own,) = [path for path, only_read in mounts.items() if not only_read and path != events]
        assert not mounts[events]
        seen.append(own)
        assert [bind.split(":")[1] for bind in asked["HostConfig"]["Binds"]] == ["/kfp-workspace"]
        assert "CD4ML_TEST_OF_CONTAINERS=seen" in asked["Env"]
        assert not any(item.startswith("PATH=") for item in asked["Env"])
        assert not asked["HostConfig"].get("AutoRemove")
    assert sorted(seen) == roots


def test_a_container_has_no_rights_no_network_and_is_not_root(docker, tiny, tmp_path):
    run_local(tiny, {"what": "x", "names": ["a"]}, tmp_path, runner="docker")
    for asked in docker.state.created:
        host = asked["HostConfig"]
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and host["NetworkMode"] == "none"
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert list(host["Tmpfs"]) == ["/tmp"]
        assert 0 < host["Memory"] < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        assert int(asked["User"].split(":")[0]) == (os.getuid() or 10001)


def test_what_was_done_is_not_done_again(docker, tiny, tmp_path):
    run_local(tiny, ARGUMENTS, tmp_path, runner="docker")
    again = run_local(tiny, ARGUMENTS, tmp_path, runner="docker")
    assert sorted(task.name for task in again.tasks if task.cached) == ["judge", "plan", "search", "search"]


def test_an_error_in_a_container_keeps_its_class(docker, tiny, tmp_path):
    with pytest.raises(ContractError, match="expected 5 columns in 'items', found 6"):
        run_local(tiny, {**ARGUMENTS, "mood": "refuse"}, tmp_path, runner="docker")
    assert not docker.state.containers


def test_a_container_that_was_killed_is_a_failure_and_no_success(docker, tiny, tmp_path):
    with pytest.raises(Cd4mlError, match="task judge was killed before it could say why"):
        run_local(tiny, {**ARGUMENTS, "mood": "die"}, tmp_path, runner="docker")


def test_a_task_that_ends_its_own_process_without_outputs_is_no_success(docker, tiny, tmp_path):
    with pytest.raises(Cd4mlError, match="task judge ended its own process and wrote no outputs"):
        run_local(tiny, {**ARGUMENTS, "mood": "leave"}, tmp_path, runner="docker")


@pytest.mark.parametrize("code", [0, 3])
def test_the_exit_code_of_a_container_is_read_before_it_is_removed(code, docker, capsys):
    client = from_env()
    assert (
        run_container(client, IMAGE, ["sh", "-c", f"echo said; exit {code}"], {}, environment={"A": "b"})
        == code
    )
    client.close()
    assert len(docker.state.removed) == 1
    assert capsys.readouterr().out == "said\n"


def test_an_image_that_is_not_here_is_pulled(docker, tiny, tmp_path):
    docker.state.images.clear()
    run_local(tiny, {"what": "x", "names": ["a"]}, tmp_path, runner="docker")
    assert docker.state.pulled == [IMAGE]


def test_no_container_outlives_the_process_that_asked_for_it(docker, tiny, tmp_path):
    code = CODE.replace("Path(sys.argv[2]))", "Path(sys.argv[2]), runner='docker')")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tiny), str(tmp_path / "root")],
        env={**os.environ, "TINY_WAIT": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: docker.state.containers)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not docker.state.containers)
    assert not docker.state.containers


def test_without_an_engine_nothing_starts(tiny, tmp_path):
    with environment(DOCKER_HOST="tcp://127.0.0.1:9"):
        with pytest.raises(ServiceError, match=r"container engine at tcp://127.0.0.1:9, found none .*podman"):
            run_local(tiny, ARGUMENTS, tmp_path, runner="docker")
        with pytest.raises(ServiceError):
            check_engine()
    assert not (tmp_path / "runs").exists()
