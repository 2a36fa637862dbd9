"""A compiled pipeline runs here: outputs, cache and errors."""

import builtins
import logging
import os
import sys
from pathlib import Path

import pytest

from cd4ml.adapters.kubeflow import run_local
from cd4ml.errors import Cd4mlError, ContractError, NotFoundError, UsageError
from tests.adapters.s3_server import environment
from tests.adapters.tiny_pipeline import compile_tidied, compile_tiny

pytestmark = pytest.mark.xdist_group("kubeflow")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return compile_tiny(tmp_path_factory.mktemp("compiled"))


def cached(run):
    return sorted(task.name for task in run.tasks if task.cached)


def test_a_run_gives_the_parameters_artifacts_and_metrics_of_each_task(tiny, tmp_path):
    lines = []
    run = run_local(tiny, {"what": "x"}, tmp_path, log=lines.append)
    assert run.path("judge", "table").read_text() == "ax bx cx"
    assert run.parameters("register") == {"registered": "x"}
    assert run.parameters("judge") == {"Output": "accept"}
    assert [line.split()[0] for line in lines].count("search") == 3
    assert "said by mark" in run.task("mark").log.read_text()
    assert run.task("search").metadata["scores"].keys() == {"heavy", "threads"}
    assert sorted(task.iteration for task in run.tasks if task.name == "search") == [0, 1, 2]


def test_tasks_of_a_loop_share_the_cores(tiny, tmp_path):
    with environment(OMP_NUM_THREADS=None):
        run = run_local(tiny, {"what": "x", "names": ["a"]}, tmp_path)
    assert run.task("search").metadata["scores"]["threads"] == max(1, len(os.sched_getaffinity(0)) // 2)


def test_the_word_python3_and_quotes_survive_in_paths_and_parameters(tiny, tmp_path):
    root = tmp_path / "it's a python3 folder"
    run = run_local(tiny, {"what": "python3 isn't\nrewritten", "names": ["a"]}, root)
    assert run.parameters("register") == {"registered": "python3 isn't\nrewritten"}
    assert run.path("judge", "table").read_text() == "apython3 isn't\nrewritten"
    assert root in run.path("judge", "table").parents


def test_what_has_not_changed_in_content_is_not_run_again(tiny, tmp_path):
    first = run_local(tiny, {"what": "x"}, tmp_path)
    second = run_local(tiny, {"what": "x"}, tmp_path)
    assert cached(first) == []
    assert cached(second) == ["judge", "plan", "search", "search", "search"]
    assert second.path("judge", "table") == first.path("judge", "table")
    assert second.task("search").metadata["scores"] == first.task("search").metadata["scores"]


def test_a_task_starts_without_what_only_a_client_of_a_cluster_needs(tiny, tmp_path):
    run = run_local(tiny, {"what": "x", "names": ["a"]}, tmp_path)
    assert run.task("search").metadata["scores"]["heavy"] == 0


def test_a_component_whose_source_has_changed_is_run_again(tiny, tmp_path):
    run_local(tiny, {"what": "x", "names": ["a"]}, tmp_path)
    other = tmp_path / "other.yaml"
    text = tiny.read_text()
    assert "float(len(heavy))" in text  # in the body of `search`, which imports from our adapter
    other.write_text(text.replace("float(len(heavy))", "float(len(heavy)+1)"))
    second = run_local(other, {"what": "x", "names": ["a"]}, tmp_path)
    assert cached(second) == ["judge", "plan"]
    assert second.task("search").metadata["scores"]["heavy"] == 1


def test_what_has_changed_is_run_again_with_all_that_follows(tiny, tmp_path):
    run_local(tiny, {"what": "x"}, tmp_path)
    assert cached(run_local(tiny, {"what": "y"}, tmp_path)) == []
    assert cached(run_local(tiny, {"what": "x", "names": ["a", "b", "d"]}, tmp_path)) == ["search", "search"]


def test_an_output_that_lost_a_file_is_made_again(tiny, tmp_path):
    first = run_local(tiny, {"what": "x", "names": ["a"]}, tmp_path)
    (first.path("search", "out") / "result").unlink()
    second = run_local(tiny, {"what": "x", "names": ["a"]}, tmp_path)
    assert cached(second) == ["judge", "plan"]
    assert (second.path("search", "out") / "result").read_text() == "ax"


def test_an_output_that_was_changed_is_made_again(tiny, tmp_path):
    first = run_local(tiny, {"what": "x", "names": ["a"]}, tmp_path)
    first.path("judge", "table").write_text("forged")
    second = run_local(tiny, {"what": "x", "names": ["a"]}, tmp_path)
    assert second.path("judge", "table").read_text() == "ax"


def test_an_error_of_a_task_keeps_its_class_and_names_task_and_log(tiny, tmp_path):
    with pytest.raises(ContractError) as caught:
        run_local(tiny, {"what": "x", "mood": "refuse", "names": ["a"]}, tmp_path)
    message = str(caught.value)
    assert caught.value.exit_code == 4
    assert message.startswith("expected 5 columns in 'items', found 6; drop one (task judge, log ")
    assert "\n" not in message
    log = Path(message.rsplit("log ", 1)[1].rstrip(")"))
    assert "Traceback" in log.read_text()


def test_an_error_that_is_not_ours_is_unexpected_and_names_its_class(tiny, tmp_path):
    with pytest.raises(Cd4mlError, match=r"KeyError: 'nothing here' \(task judge, log ") as caught:
        run_local(tiny, {"what": "x", "mood": "break", "names": ["a"]}, tmp_path)
    assert caught.value.exit_code == 1


def test_an_error_of_a_class_that_only_the_task_knows_is_raised_as_the_one_of_ours_that_it_is(tiny, tmp_path):
    with pytest.raises(ContractError, match="expected rain, found snow"):
        run_local(tiny, {"what": "x", "mood": "refuse by a class of its own", "names": ["a"]}, tmp_path)


def test_an_error_without_a_message_is_told_all_the_same(tiny, tmp_path):
    with pytest.raises(Cd4mlError, match=r"MemoryError: no message \(task judge"):
        run_local(tiny, {"what": "x", "mood": "break without a word", "names": ["a"]}, tmp_path)


def test_a_task_that_was_killed_is_named(tiny, tmp_path):
    with pytest.raises(Cd4mlError, match="task judge was killed before it could say why"):
        run_local(tiny, {"what": "x", "mood": "die", "names": ["a"]}, tmp_path)


def test_a_rejected_model_skips_what_stands_behind_the_condition(tiny, tmp_path):
    run = run_local(tiny, {"what": "x", "mood": "reject", "names": ["a"]}, tmp_path)
    assert run.parameters("register") == {}
    with pytest.raises(NotFoundError, match="expected a task of"):
        run.task("register")
    with pytest.raises(NotFoundError, match="did you mean 'table'"):
        run.path("judge", "tabel")


def test_nothing_is_left_by_arguments_that_are_refused(tiny, tmp_path):
    for wrong in ({"what": "x", "moood": "accept"}, {}):
        with pytest.raises(UsageError):
            run_local(tiny, wrong, tmp_path)
    with pytest.raises(UsageError, match="runner must be"):
        run_local(tiny, {"what": "x"}, tmp_path, runner="podman")
    assert not (tmp_path / "runs").exists()


def test_a_root_that_is_a_file_is_refused(tiny, tmp_path):
    (tmp_path / "root").touch()
    with pytest.raises(UsageError, match=r"expected a folder that can be written to at .*root, found: "):
        run_local(tiny, {"what": "x"}, tmp_path / "root")


def test_a_run_leaves_the_process_as_it_was_and_prints_nothing(tiny, tmp_path, capfd):
    before = (builtins.print, logging.getLogger().handlers[:], logging.getLogger().level, sys.executable)
    run = run_local(tiny, {"what": "x", "names": ["a", "b"]}, tmp_path)
    after = (builtins.print, logging.getLogger().handlers[:], logging.getLogger().level, sys.executable)
    assert before == after
    assert capfd.readouterr() == ("", "")
    assert not (run.folder / "scratch").exists()


def test_a_failure_is_not_tried_again_here_and_the_exit_handler_has_run_before_it_is_raised(tmp_path):
    lines = []
    arguments = {"what": "expected 5, found 6", "tries": str(tmp_path / "tries")}
    with pytest.raises(ContractError, match=r"expected 5, found 6 .task fail, log"):
        run_local(compile_tidied(tmp_path), arguments, tmp_path / "out", log=lines.append)
    assert (tmp_path / "tries").read_text() == "tried "
    assert [line.split()[0] for line in lines] == ["register"]
