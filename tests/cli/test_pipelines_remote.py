"""`cd4ml pipelines submit, status, cancel, list, schedule` against an API server: lines, JSON, exit codes."""

import io
import json
import signal
import subprocess
import sys
import time

import pytest

from cd4ml.adapters.kubeflow import package
from cd4ml.adapters.kubeflow.remote import Run, Task
from cd4ml.cli.main import main
from cd4ml.cli.pipelines_progress import Progress
from tests.adapters.tiny_pipeline import compile_tiny
from tests.kubeflow.server import api_server

NOWHERE = "http://127.0.0.1:9"
COMMIT = ["--commit", "0123abcd", "--branch", "main"]
WAIT = ["--wait", "--poll-seconds", "0.01"]


@pytest.fixture
def api():
    with api_server() as server:
        yield server


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return str(compile_tiny(tmp_path_factory.mktemp("compiled")))


@pytest.fixture
def call(api, tiny, capsys):
    """Return a function that runs a verb for the small pipeline: its exit code, stdout and stderr."""

    def run(verb, *words):
        own = [tiny, "--set", "what=x", *COMMIT] if verb[-1] in ("submit", "create") else []
        code = main(["pipelines", *verb, *own, "--host", api.url, *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["submit", "training", "--host", NOWHERE, "--set", "problem"], 2, "--set takes NAME=VALUE"),
        (["submit", "training", "--host", NOWHERE, "--set", "=x"], 2, "--set takes NAME=VALUE; found '=x'"),
        (["submit", "training", "--host", NOWHERE, "--set", "dat=x"], 2, "did you mean 'data'"),
        (["submit", "training", "--host", NOWHERE, "--set", "data=x", "--set", "data=y"], 2, "'data' twice"),
        (["submit", "delivery", "--host", NOWHERE, "--set", "attempt=two"], 2, "must be an integer"),
        (["submit", "training", "--host", "localhost:1"], 2, "host must be a URL"),
        (["submit", "training"], 2, "give --host, or set KFP_HOST"),
        (["submit", "training", "--host", NOWHERE, "--image", "x"], 2, "must be pinned"),
        (
            ["submit", "training", "--host", NOWHERE, "--problem", "bike-deman"],
            2,
            "did you mean 'bike-demand'",
        ),
        (["submit", "training", "--host", NOWHERE, "--commit", "v1"], 2, "hexadecimal digits; got 'v1'"),
        (["submit", "training", "--host", NOWHERE, *COMMIT], 6, "could not reach it"),
        (["status", "x", "--host", NOWHERE], 6, "could not reach it"),
        (["list", "runs"], 2, "give --host, or set KFP_HOST"),
        (["schedule", "create", "training", "--host", NOWHERE], 2, "a cron expression or an interval"),
        (["schedule", "create", "training", "--host", NOWHERE, "--every", "6"], 2, "such as 6h"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(arguments, code, message, capsys):
    assert main(["pipelines", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err and captured.err.count("\n") == 1


def test_a_submitted_pipeline_has_its_arguments_its_image_and_its_commit(api, capsys):
    image = "registry.example.org/x-python:2"
    command = ["pipelines", "submit", "training", "--host", api.url, "--image", image, "--json", *COMMIT]
    settings = ["--set", "problem=bike-demand", "--set", "data=s3://lake/a=b"]
    assert main([*command, *settings, "--service-account", "runner"]) == 0
    said = json.loads(capsys.readouterr().out)
    (run,) = api.state.runs.values()
    assert run["run_id"] == said["run_id"] and said["version"]["name"] == "0123abcd"
    lineage = {"git_commit": "0123abcd", "git_branch": "main"}
    given = {"problem": "bike-demand", "data": "s3://lake/a=b", **lineage}
    assert run["runtime_config"]["parameters"] == given
    assert (run["service_account"], run["display_name"]) == ("runner", "training-bike-demand-0123abcd")
    (version,) = api.state.versions.values()
    executors = version["pipeline_spec"]["pipeline_spec"]["deploymentSpec"]["executors"].values()
    assert {one["container"]["image"] for one in executors} == {image}


def test_the_delivery_of_a_version_is_submitted_with_a_policy_and_exported(api, tmp_path):
    command = ["pipelines", "submit", "delivery", "--host", api.url, "--set", "version=7", *COMMIT]
    policy = {"strategy": "blue_green"}
    assert main([*command, "--set", f"policy={json.dumps(policy)}", "--set", "attempt=2"]) == 0
    (run,) = api.state.runs.values()
    assert run["runtime_config"]["parameters"] == {"version": "7", "policy": policy, "attempt": 2}
    assert main(["pipelines", "export", "delivery", "--out", str(tmp_path / "d.yaml")]) == 0
    assert (tmp_path / "d.yaml").read_bytes() == package("delivery").read_bytes()


def test_settings_of_a_problem_reach_the_version(api, tmp_path, capsys):
    problem = tmp_path / "bike.yaml"
    text = (package("training").parent.parent / "problems/bike-demand.yaml").read_text()
    problem.write_text(f"{text}\nkubernetes:\n  tasks:\n    judge-model: {{memory: {{limit: 3Gi}}}}\n")
    command = [
        "pipelines",
        "submit",
        "training",
        "--host",
        api.url,
        "--problem",
        str(problem),
        "--upload-only",
    ]
    assert main([*command, *COMMIT]) == 0, capsys.readouterr().err
    (version,) = api.state.versions.values()
    executor = version["pipeline_spec"]["pipeline_spec"]["deploymentSpec"]["executors"]["exec-judge-model"]
    assert "3Gi" in json.dumps(executor["container"]["resources"])
    assert api.state.runs == {}


def test_the_problem_whose_settings_are_applied_is_the_one_that_is_run(api, tmp_path, capsys):
    command = ["pipelines", "submit", "training", "--host", api.url, "--problem"]
    assert main([*command, "bike-demand", *COMMIT]) == 0, capsys.readouterr().err
    (run,) = api.state.runs.values()
    assert run["runtime_config"]["parameters"]["problem"] == "bike-demand"
    file = tmp_path / "bike.yaml"
    file.write_text((package("training").parent.parent / "problems/bike-demand.yaml").read_text())
    assert main([*command, str(file), *COMMIT]) == 2
    assert "--set problem=URL" in capsys.readouterr().err
    assert main([*command, str(file), "--set", "problem=s3://lake/bike.yaml", *COMMIT]) == 0
    assert [one["runtime_config"]["parameters"]["problem"] for one in api.state.runs.values()][1:] == [
        "s3://lake/bike.yaml"
    ]


def test_a_submitted_pipeline_says_where_its_run_is_seen(api, call):
    code, out, err = call(["submit"])
    (run,) = api.state.runs
    assert (code, out) == (0, f"started {run}\n{api.url}/#/runs/details/{run}\n")
    assert err.splitlines() == [
        "uploaded version 0123abcd of tiny",
        f"started run {run} in experiment cd4ml/main",
    ]
    assert call(["submit"])[2].startswith("found version 0123abcd of tiny")


def test_waiting_tells_each_task_once_in_plain_lines_and_ends_as_the_run_ends(api, call):
    code, out, err = call(["submit"], *WAIT)
    (run,) = api.state.runs
    assert (code, out.splitlines()[0]) == (0, f"succeeded {run}")
    assert err.count("+ succeeded judge") == 1 and "\r" not in err and "\x1b" not in err
    assert err.splitlines()[-1] == f"run {run}: succeeded"
    assert "driver" not in err and "executor" not in err


@pytest.mark.parametrize(
    ("log", "code"),
    [
        ("cd4ml.errors.GateRejected: wape is worse", 3),
        ("cd4ml.errors.ContractError: 6 columns", 4),
        ("cd4ml.errors.RolledBack: harm", 5),
        ("cd4ml.errors.ServiceError: no store", 6),
        ("KeyError: 'x'", 1),
    ],
)
def test_a_failed_run_exits_as_its_task_and_shows_the_log(log, code, api, call):
    api.state.play.logs["judge"] = f"a line before\n{log}\n"
    found, out, err = call(["submit"], *WAIT, "--json")
    assert (found, out) == (code, "")
    assert "--- end of the log of task judge\na line before\n" in err and "! failed    judge" in err
    assert err.splitlines()[-1].startswith("error: task judge failed: ")


def test_a_rejected_model_is_exit_code_three_though_kubeflow_calls_the_run_a_success(api, call):
    api.state.play.skipped.add("condition-2")
    code, out, err = call(["submit"], *WAIT)
    assert (code, out) == (3, "")
    assert "the model was rejected" in err
    (run,) = api.state.runs
    assert call(["status"], run, *WAIT)[0] == 3


def test_a_run_that_does_not_end_in_time_is_exit_code_124(api, call):
    api.state.play.held = True
    code, _, err = call(["submit"], *WAIT, "--timeout-seconds", "0.02")
    assert code == 124 and "has not ended within 0.02 s" in err


@pytest.mark.loop
def test_ctrl_c_ends_the_waiting_and_says_that_the_run_goes_on(api, tiny):
    api.state.play.held = True
    words = ["submit", tiny, "--set", "what=x", *COMMIT, "--host", api.url, *WAIT]
    command = [sys.executable, "-m", "cd4ml.cli", "pipelines", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while "run_service_get_run" not in api.calls:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=30)[1]
    (run,) = api.state.runs
    assert process.returncode == 130 and f"run {run} goes on" in error
    assert api.calls["run_service_terminate_run"] == 0


def test_a_run_is_shown_followed_stopped_and_listed(api, call):
    call(["submit"])
    (run,) = api.state.runs
    code, out, _ = call(["status"], run)
    assert code == 0 and out.startswith(f"pending: tiny-0123abcd ({run})\n")
    code, out, _ = call(["status"], run, *WAIT, "--json")
    assert code == 0 and json.loads(out)["state"] == "SUCCEEDED"
    assert call(["cancel"], run)[1] == f"{run} had ended: succeeded\n"
    assert call(["status"], "nobody")[0] == 2
    code, out, _ = call(["list"], "runs", "--json")
    assert [one["run_id"] for one in json.loads(out)] == [run]
    assert call(["list"], "pipelines")[1].splitlines()[1].startswith("tiny ")
    assert "0123abcd" in call(["list"], "versions", "--pipeline", "tiny")[1]
    code, _, err = call(["list"], "versions", "--pipeline", "tinny")
    assert code == 2 and "did you mean 'tiny'" in err
    call(["submit"])
    other = next(one for one in api.state.runs if one != run)
    assert call(["cancel"], other)[1] == f"{other} is being stopped\n"


def test_a_schedule_is_made_listed_paused_resumed_and_deleted(api, call):
    code, out, _ = call(["schedule", "create"], "--every", "6h", "--max-concurrency", "2", "--catchup")
    assert code == 0 and out.startswith("tiny-main: every 21600 s, version 0123abcd\n")
    code, out, err = call(["schedule", "create"], "--cron", "0 6 * * 1", "--json")
    assert (json.loads(out)["when"], err.count("replaced schedule")) == ("cron 0 0 6 * * 1", 1)
    assert call(["schedule", "pause"], "tiny-main")[2].startswith("paused tiny-main (")
    assert "disabled" in call(["schedule", "list"])[1]
    assert call(["schedule", "resume"], "tiny-main")[0] == 0
    assert json.loads(call(["schedule", "list"], "--json")[1])[0]["status"] == "ENABLED"
    assert call(["schedule", "delete"], "tiny-main")[2].startswith("deleted tiny-main (")
    assert api.state.recurring == {}


def test_on_a_terminal_one_line_moves_and_what_has_ended_stays(capsys):
    show = Progress(moving=True)
    first = (Task("a", "SUCCEEDED"), Task("b", "RUNNING"), Task("b-driver", "SUCCEEDED"))
    show(Run("r", "n", "RUNNING", "u", "e", tasks=first))
    show(Run("r", "n", "RUNNING", "u", "e", tasks=first))
    show(Run("r", "n", "SUCCEEDED", "u", "e", tasks=(Task("a", "SUCCEEDED"), Task("b", "SUCCEEDED"))))
    text = capsys.readouterr().err
    assert text.count("+ succeeded a") == 1 and text.count("+ succeeded b") == 1
    assert "running, 1 of 2 tasks ended; b" in text and "driver" not in text
    assert text.endswith("run r: succeeded\n")
    screen = io.StringIO()
    for line in text.split("\n"):
        screen.write(line.rpartition("\x1b[K")[2] + "\n")
    assert screen.getvalue().split("\n")[:3] == ["+ succeeded a", "+ succeeded b", "run r: succeeded"]


@pytest.mark.parametrize("verb", ["create", "list", "pause", "resume", "delete"])
def test_every_verb_has_help_that_ends_with_an_example(verb, capsys):
    assert main(["pipelines", "schedule", verb, "--help"]) == 0
    assert f"Example: cd4ml pipelines schedule {verb}" in " ".join(capsys.readouterr().out.split())
