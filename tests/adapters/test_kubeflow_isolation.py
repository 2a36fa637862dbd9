"""What a task in a container may do: what it sees, what it writes to, and what is taken from it."""

import json
import os
from pathlib import Path

import pytest

from cd4ml.adapters.kubeflow.isolation import TASK_USER, hand_over, limits, mounted, task_folder, user
from cd4ml.errors import UsageError
from tests.adapters.s3_server import environment


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
    assert mounted(arguments) == {str(tmp_path / "there"): False}


def test_the_store_is_written_to_and_what_else_is_named_is_read(tmp_path):
    for name in ("data", "store"):
        (tmp_path / name).mkdir()
    arguments = {"store": str(tmp_path / "store"), "data": str(tmp_path / "data")}
    assert mounted(arguments) == {str(tmp_path / "data"): False, str(tmp_path / "store"): True}
    assert mounted({**arguments, "data": str(tmp_path / "store")}) == {str(tmp_path / "store"): True}


@pytest.mark.parametrize(
    ("arguments", "network"),
    [
        ({"data": "/data", "previous": '{"store": "s3://bucket"}'}, "none"),
        ({"data": "file:///data"}, "none"),
        ({"data": "/data", "store": "s3://bucket/store"}, None),
        ({"problem": "https://example.org/problem.yaml"}, None),
    ],
)
def test_there_is_a_network_only_for_an_argument_that_is_a_url(arguments, network):
    assert limits(arguments).get("network_mode") == network


def test_a_network_can_be_asked_for():
    with environment(CD4ML_TASK_NETWORK="host"):
        assert limits({"data": "/data"})["network_mode"] == "host"


def test_a_limit_of_memory_is_given_as_asked_for():
    with environment(CD4ML_TASK_MEMORY="512m"):
        assert limits({})["mem_limit"] == "512m"
    with environment(CD4ML_TASK_MEMORY="0"):
        assert "mem_limit" not in limits({})
    with environment(CD4ML_TASK_MEMORY="much"), pytest.raises(UsageError, match=r"such as 2g.* got 'much'"):
        limits({})


def test_the_user_of_tasks_is_the_caller_but_never_root():
    assert user() == (os.getuid() or TASK_USER, os.getgid() or TASK_USER)
    assert 0 not in user()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_what_belongs_to_root_is_handed_over_and_what_belongs_to_others_is_not(tmp_path):
    store = tmp_path / "store"
    (store / "folder").mkdir(parents=True)
    for name in ("folder/ours", "theirs"):
        (store / name).write_text(name)
    (store / "link").symlink_to("/etc/hostname")
    os.chown(store / "theirs", 1234, 1234)
    hand_over([store])
    owners = {path.name: path.lstat().st_uid for path in [store, *store.rglob("*")]}
    assert owners == {
        "store": TASK_USER,
        "folder": TASK_USER,
        "ours": TASK_USER,
        "link": TASK_USER,
        "theirs": 1234,
    }
    assert Path("/etc/hostname").stat().st_uid == 0


def test_the_folder_of_a_tasks_outputs_stands_in_its_command(tmp_path):
    given = json.dumps({"outputs": {"outputFile": str(tmp_path / "task/executor_output.json")}})
    command = ["sh", "-c", "exec", "--executor_input", given, "--function_to_execute", "judge"]
    assert task_folder(command) == tmp_path / "task"
    assert (tmp_path / "task").is_dir()
    assert task_folder(["sh", "-c", "true"]) is None
