"""The workflow files keep to the rules, and their own commands submit a run that succeeds."""

import json
import re

import pytest

from tests.kubeflow.server import api_server
from tests.workflows.job import ROOT, WORKFLOWS, Runner, checkout, step_of, token_server, workflow

NAMES = [path.stem for path in WORKFLOWS]
IMAGE = "registry.example.org/cd4ml-python@sha256:" + "a" * 64


def steps():
    for name in NAMES:
        for key, job in workflow(name)["jobs"].items():
            for step in job["steps"]:
                yield f"{name}/{key}", step


@pytest.fixture
def runner(tmp_path):
    made = []

    def make(values, **extra):
        folder = tmp_path / "checkout"
        folder.mkdir()
        commit = checkout(folder)
        made.append(Runner(folder, values, **extra))
        return made[0], commit

    yield make
    for one in made:
        one.close()


def test_there_is_a_workflow_for_changes_and_one_for_promotions():
    assert NAMES == ["ci", "promote"]


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_may_only_read_unless_a_job_says_why_not(name):
    found = workflow(name)
    assert found["permissions"] == {"contents": "read"}
    assert found["concurrency"]["group"]
    for key, job in found["jobs"].items():
        own = job.get("permissions", {})
        assert set(own) <= {"contents", "packages", "id-token"} and own.get("contents", "read") == "read", key
        uses_token = any("kfp-token.sh" in step.get("run", "") for step in job["steps"])
        assert (own.get("id-token") == "write") == uses_token, key
        pushes = any("docker push" in step.get("run", "") for step in job["steps"])
        assert (own.get("packages") == "write") == pushes, key
        assert job["timeout-minutes"] <= 360, key


def test_every_action_is_pinned_and_keeps_no_credentials():
    for where, step in steps():
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@(v\d+|[0-9a-f]{40})", step["uses"]), (where, step)
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False, where


def test_no_command_has_an_expression_or_a_secret_among_its_words():
    for where, step in steps():
        assert "${{" not in step.get("run", ""), (where, step["run"])
        assert not re.search(r"--(token|password|cookie)[ =]", step.get("run", "")), where


def test_secrets_are_given_to_the_step_that_needs_them_and_to_no_other():
    for name in NAMES:
        found = workflow(name)
        assert "secrets." not in json.dumps({key: value for key, value in found.items() if key != "jobs"})
        for job in found["jobs"].values():
            assert "secrets." not in json.dumps({**job, "steps": []})
            with_secrets = [step.get("id") for step in job["steps"] if "secrets." in json.dumps(step)]
            assert with_secrets in ([], ["copy"])


def test_the_jobs_lint_test_compile_build_and_then_submit():
    jobs = workflow("ci")["jobs"]
    said = {key: " ".join(step.get("run", "") for step in job["steps"]) for key, job in jobs.items()}
    for key, command in {
        "lint": "make lint", "test": "make coverage", "generated": "make check-generated",
        "images": "scripts.images build", "submit": "scripts/submit.py training",
    }.items():  # fmt: skip
        assert command in said[key]
    assert (
        set(jobs["images"]["needs"]) == {"lint", "generated", "test"} and jobs["submit"]["needs"] == "images"
    )
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", " ".join(said.values()))) <= targets


@pytest.mark.loop
def test_the_workflows_own_commands_submit_a_run_and_the_same_commit_makes_no_second_version(runner):
    with api_server(multi_user=True, namespaces=["team"]) as api, token_server("of-github") as tokens:
        api.tokens.add("of-github")
        values = {
            "vars.KFP_HOST": api.url, "vars.KFP_AUDIENCE": "kubeflow", "vars.KFP_NAMESPACE": "team",
            "needs.images.outputs.image": IMAGE, "vars.PROBLEM": "bike-demand", "vars.DATA": "s3://lake/bike",
            "vars.STORE": "s3://cd4ml/store", "github.run_id": "71", "vars.RETRAIN_CRON": "0 6 * * 1",
        }  # fmt: skip
        secret = {"ACTIONS_ID_TOKEN_REQUEST_URL": tokens, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-this-job"}
        work, commit = runner(values, **secret, CD4ML_POLL_SECONDS="0.02")
        job = workflow("ci")["jobs"]["submit"]
        for key in ("Say to Kubeflow who we are", "submit", "schedule"):
            code, log = work.run(job, step_of(job, key))
            assert code == 0, log
        first = json.loads((work.folder / "out/run.json").read_text())
        assert first["state"] == "SUCCEEDED" and first["version"]["name"] == commit
        assert "of-github" not in log

        work.values["github.run_id"] = "72"
        code, log = work.run(job, step_of(job, "submit"))
        second = json.loads((work.folder / "out/run.json").read_text())
        assert code == 0 and second["state"] == "SUCCEEDED", log
        assert second["run_id"] != first["run_id"]
        assert [one["name"] for one in api.state.versions.values()] == [commit]
        assert second["version"]["version_id"] == first["version"]["version_id"]
        (experiment,) = api.state.experiments.values()
        assert (experiment["display_name"], experiment["namespace"]) == ("cd4ml/main", "team")
        (schedule,) = api.state.recurring.values()
        assert schedule["trigger"]["cron_schedule"]["cron"] == "0 0 6 * * 1"
        for run in api.state.runs.values():
            given = run["runtime_config"]["parameters"]
            assert (given["problem"], given["git_commit"], given["git_branch"]) == (
                "bike-demand",
                commit,
                "main",
            )


@pytest.mark.loop
def test_a_promotion_that_is_taken_back_fails_the_workflow_with_its_exit_code(runner):
    with api_server() as api:
        api.state.play.logs["exit-handler-1"] = (
            "cd4ml.errors.RolledBack: harm in segment night; version 3 serves\n"
        )
        values = {
            "vars.KFP_HOST": api.url, "github.ref_name": "staging/bike-demand/7", "vars.STORE": "s3://staging/store",
            "github.run_id": "9",
        }  # fmt: skip
        work, _ = runner(values, CD4ML_POLL_SECONDS="0.02", CD4ML_KFP_TOKEN="x")
        (work.folder / "out").mkdir()
        (work.folder / "out/promoted.json").write_text('{"to_version": 2}')
        job = workflow("promote")["jobs"]["promote"]
        code, log = work.run(job, step_of(job, "submit"))
        assert code == 5 and "harm in segment night" in log
        (run,) = api.state.runs.values()
        given = {
            "model": "bike-demand",
            "version": "2",
            "service": "bike-demand",
            "store": "s3://staging/store",
        }
        assert run["runtime_config"]["parameters"] == given
