"""A run is waited for, and one that fails fails here with the error that its task had there."""

import pytest

from cd4ml import errors
from cd4ml.adapters.kubeflow.compiled import documents, package
from cd4ml.adapters.kubeflow.remote import start
from cd4ml.adapters.kubeflow.remote_wait import conclude, guards, shown, wait
from cd4ml.errors import Cd4mlError, DataError, GateRejected, ServiceError, TimedOut
from tests.adapters.tiny_pipeline import compile_tiny
from tests.kubeflow.orders import placed
from tests.kubeflow.running import LOOKS
from tests.kubeflow.server import api_server

GET = "run_service_get_run"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return compile_tiny(tmp_path_factory.mktemp("compiled"))


@pytest.fixture
def api():
    with api_server() as server:
        yield server


@pytest.fixture
def ended(api, tiny, tmp_path):
    """Return a function that starts a run and waits for its end."""
    server, order = placed(api, tiny, tmp_path)

    def run(pipeline=None):
        found = wait(server, start(server, order).run_id, lambda run: None, poll_seconds=0.005)
        return found, conclude(server, found, pipeline)

    return run


def test_each_look_is_reported_until_the_run_has_ended(api, tiny, tmp_path):
    server, order = placed(api, tiny, tmp_path)
    seen = []
    run = wait(server, start(server, order).run_id, seen.append, poll_seconds=0.005)
    states = [one.state for one in seen]
    assert states == ["PENDING", *["RUNNING"] * (LOOKS - 1), "SUCCEEDED"]
    assert conclude(server, run) is None
    assert {one.name for one in shown(run)} == {"mark", "plan", "for-loop-1", "judge", "condition-2"}


def test_a_run_that_does_not_end_in_time_goes_on_and_that_is_said(api, tiny, tmp_path):
    server, order = placed(api, tiny, tmp_path)
    api.state.play.held = True
    with pytest.raises(TimedOut, match=r"not ended within 0.02 s; it goes on.*pipelines cancel") as caught:
        wait(server, start(server, order).run_id, lambda run: None, timeout_seconds=0.02, poll_seconds=0.005)
    assert caught.value.exit_code == 124
    assert api.calls["run_service_terminate_run"] == 0


def test_a_server_that_is_away_for_a_while_is_waited_for(api, tiny, tmp_path):
    server, order = placed(api, tiny, tmp_path)
    run = start(server, order)
    api.troubles[GET] = [503] * 3
    assert wait(server, run.run_id, lambda run: None, poll_seconds=0.005).state == "SUCCEEDED"
    api.troubles[GET] = [503] * 3
    with pytest.raises(ServiceError, match="answered 503"):
        wait(server, run.run_id, lambda run: None, poll_seconds=0.005, patience_seconds=0)


def test_a_caller_whose_token_has_ended_does_not_wait(api, tiny, tmp_path):
    server, order = placed(api, tiny, tmp_path)
    run = start(server, order)
    api.tokens.add("another")
    with pytest.raises(ServiceError, match="answered 401"):
        wait(server, run.run_id, lambda run: None, poll_seconds=0.005)


@pytest.mark.parametrize(
    "name", ["GateRejected", "ContractError", "RolledBack", "ConflictError", "ProblemError", "RowError"]
)
def test_a_failed_task_gives_the_exit_code_that_its_error_has(name, api, ended):
    log = f"I0101 launcher\nTraceback:\ncd4ml.errors.{name}: expected a, found b\nF0101 exit 1\n"
    api.state.play.logs["judge"] = log
    run, failure = ended()
    assert run.state == "FAILED"
    assert failure.error.exit_code == getattr(errors, name).exit_code
    assert str(failure.error) == f"task judge failed: expected a, found b (see {run.url})"
    assert failure.log == log.strip() and failure.task == "judge"


def test_of_several_errors_in_a_log_the_last_is_the_one_that_was_not_handled(api, ended):
    api.state.play.logs["judge"] = (
        "cd4ml.errors.ServiceError: the first\n\nDuring handling another exception occurred:\n\n"
        "cd4ml.errors.SourceError: the last\n"
    )
    assert isinstance(ended()[1].error, DataError)


@pytest.mark.parametrize("last", ["KeyError: 'x'", "pandas.errors.DataError: no", "MyGateRejected: no"])
def test_an_error_that_is_not_ours_is_exit_code_one_and_its_last_line(last, api, ended):
    api.state.play.logs["judge"] = f"Traceback\n{last}\n"
    _, failure = ended()
    assert failure.error.exit_code == 1 and last in str(failure.error)


def test_what_the_server_tells_of_a_task_is_used_where_there_is_no_log(api, ended):
    api.state.play.logs["judge"] = "cd4ml.errors.GateRejected: worse than the champion\n"
    api.state.play.tells_errors = True
    api.troubles["log"] = [500] * 20
    _, failure = ended()
    assert isinstance(failure.error, GateRejected) and failure.log == ""


def test_a_failure_without_log_and_reason_says_so(api, ended):
    api.state.play.logs["judge"] = "x"
    api.troubles["log"] = [500] * 20
    assert "task judge failed: the server gives no reason" in str(ended()[1].error)


def test_only_the_end_of_a_long_log_is_shown(api, ended):
    api.state.play.logs["judge"] = "".join(f"line {number}\n" for number in range(500))
    log = ended()[1].log.splitlines()
    assert log[-1] == "line 499" and len(log) == 40


def test_a_run_that_skips_what_is_behind_the_gate_is_a_rejection(api, tiny, ended):
    pipeline = documents(tiny)[0]
    assert guards(pipeline) == {"condition-2": "condition-2"}
    assert ended(pipeline)[1] is None
    api.state.play.skipped.add("condition-2")
    run, failure = ended(pipeline)
    assert run.state == "SUCCEEDED" and isinstance(failure.error, GateRejected)
    assert ended()[1] is None


def test_a_server_that_tells_no_tasks_leaves_a_gate_unknown_and_that_is_no_success(api, tiny, ended):
    api.state.play.tells_tasks = False
    failure = ended(documents(tiny)[0])[1]
    assert type(failure.error) is Cd4mlError and "is unknown" in str(failure.error)


def test_the_gate_of_the_training_pipeline_is_known_and_the_delivery_has_none():
    assert guards(documents(package("training"))[0]) == {"condition-2": "Not rejected"}
    assert guards(documents(package("delivery"))[0]) == {}


def test_a_cancelled_run_is_no_success(api, tiny, tmp_path):
    server, order = placed(api, tiny, tmp_path)
    run = start(server, order)
    api.state.under_way[run.run_id].cancelled = True
    ended = wait(server, run.run_id, lambda run: None, poll_seconds=0.005)
    assert "was cancelled" in str(conclude(server, ended).error)
