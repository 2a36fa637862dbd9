"""A compiled pipeline runs in containers: what they see, what their errors become, and that none is left."""

import os
import signal
import subprocess
import sys

import pytest
from docker import from_env

from cd4ml.adapters.kubeflow import run_local
from cd4ml.adapters.kubeflow.containers import check_engine, mounted, run_container
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


def test_a_container_has_the_runs_folder_the_arguments_paths_and_the_callers_user(docker, tiny, tmp_path):
    with environment(CD4ML_TEST_OF_CONTAINERS="seen"):
        run_local(tiny, {"what": str(tiny), "names": ["a"]}, tmp_path, runner="docker")
    for asked in docker.state.created:
        mounts = [(one["Source"], one["Target"]) for one in asked["HostConfig"]["Mounts"]]
        assert mounts == [(str(path), str(path)) for path in (tmp_path / "runs", tiny)]
        assert asked["User"] == f"{os.getuid()}:{os.getgid()}"
        assert "CD4ML_TEST_OF_CONTAINERS=seen" in asked["Env"]
        assert not any(item.startswith("PATH=") for item in asked["Env"])
        assert not asked["HostConfig"].get("AutoRemove")


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


def test_paths_among_arguments_are_found_and_text_is_not_taken_for_one(tmp_path):
    (tmp_path / "there").mkdir()
    arguments = {
        "data": str(tmp_path / "there"),
        "store": "s3://bucket",
        "problem": "bike-demand",
        "missing": str(tmp_path / "missing"),
        "long": "/" * 5000,
        "names": ["/tmp"],
    }
    assert mounted(arguments) == [str(tmp_path / "there")]
