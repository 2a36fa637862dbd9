"""`cd4ml pipelines`: list, show, export and submit, with one line and an exit code for what goes wrong."""

import json

import pytest

from cd4ml.adapters.kubeflow import package
from cd4ml.cli.main import main
from tests.adapters.kubeflow_server import api_server

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def server():
    with api_server() as api:
        yield api


def sent(server):
    (body,) = [body for method, path, body, _ in server.asked if method == "POST" and path.endswith("/runs")]
    return body


def test_the_installed_pipelines_are_listed(capsys):
    assert main(["pipelines", "list"]) == 0
    assert {"delivery", "training"} <= set(capsys.readouterr().out.splitlines())
    assert main(["pipelines", "list", "--json"]) == 0
    assert "training" in json.loads(capsys.readouterr().out)


def test_a_pipeline_shows_its_parameters_with_defaults_and_meanings(capsys):
    assert main(["pipelines", "show", "training", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "cd4ml-training"
    assert found["parameters"]["problem"]["default"] == "sales-forecast"
    assert len(found["images"]) == 1
    assert main(["pipelines", "show", "training"]) == 0
    text = capsys.readouterr().out
    for name, one in found["parameters"].items():
        assert name in text and one["description"] in text


def test_a_compiled_file_is_taken_in_place_of_a_name(tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_bytes(package("training").read_bytes())
    assert main(["pipelines", "show", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "cd4ml-training"


def test_an_exported_pipeline_is_the_installed_one(tmp_path, capsys):
    out = tmp_path / "new" / "training.yaml"
    assert main(["pipelines", "export", "training", "--out", str(out)]) == 0
    assert out.read_bytes() == package("training").read_bytes()
    assert capsys.readouterr() == ("", f"wrote {out}\n")


def test_an_exported_pipeline_runs_in_the_image_that_was_asked_for(tmp_path, capsys):
    out = tmp_path / "training.yaml"
    image = "registry.example.org/x-python:2"
    assert main(["pipelines", "export", "training", "--out", str(out), "--image", image]) == 0
    main(["pipelines", "show", str(out), "--json"])
    assert json.loads(capsys.readouterr().out)["images"] == [image]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "trainin"], 2, "did you mean 'training'"),
        (["show", "missing.yaml"], 4, "expected a compiled pipeline at missing.yaml"),
        (["export", "training", "--out", "{folder}"], 2, "--out must be a file such as"),
        (["export", "training", "--out", "{folder}/p.yaml", "--image", "x:latest"], 2, "must be pinned"),
        (["submit", "training", "--host", NOWHERE, "--set", "problem"], 2, "--set takes NAME=VALUE"),
        (["submit", "training", "--host", NOWHERE, "--set", "=x"], 2, "--set takes NAME=VALUE; found '=x'"),
        (["submit", "training", "--host", NOWHERE, "--set", "dat=x"], 2, "did you mean 'data'"),
        (["submit", "training", "--host", NOWHERE, "--set", "data=x", "--set", "data=y"], 2, "'data' twice"),
        (["submit", "training", "--host", "localhost:1"], 2, "host must be a URL"),
        (["submit", "training", "--host", NOWHERE, "--image", "x"], 2, "must be pinned"),
        (["submit", "training", "--host", NOWHERE], 6, "could not reach it"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(arguments, code, message, tmp_path, capsys):
    given = [one.replace("{folder}", str(tmp_path)) for one in arguments]
    assert main(["pipelines", *given]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_submitted_pipeline_has_its_arguments_and_its_image(server, capsys):
    image = "registry.example.org/x-python:2"
    command = ["pipelines", "submit", "training", "--host", server.url, "--image", image, "--json"]
    settings = ["--set", "problem=bike-demand", "--set", "data=s3://lake/a=b"]
    assert main([*command, *settings, "--service-account", "runner"]) == 0
    assert json.loads(capsys.readouterr().out)["run_id"] == "r1"
    body = sent(server)
    assert body["runtime_config"]["parameters"] == {"problem": "bike-demand", "data": "s3://lake/a=b"}
    assert body["service_account"] == "runner"
    assert body["display_name"] == "training-bike-demand"
    executors = body["pipeline_spec"]["pipeline_spec"]["deploymentSpec"]["executors"].values()
    assert {one["container"]["image"] for one in executors} == {image}


def test_the_delivery_of_a_version_is_submitted_with_a_policy_and_exported(server, tmp_path, capsys):
    command = ["pipelines", "submit", "delivery", "--host", server.url, "--set", "version=7"]
    policy = {"strategy": "blue_green"}
    assert main([*command, "--set", f"policy={json.dumps(policy)}", "--set", "attempt=2"]) == 0
    given = {"version": "7", "policy": policy, "attempt": 2}
    assert sent(server)["runtime_config"]["parameters"] == given
    assert main(["pipelines", "export", "delivery", "--out", str(tmp_path / "d.yaml")]) == 0
    assert (tmp_path / "d.yaml").read_bytes() == package("delivery").read_bytes()


def test_a_submitted_pipeline_says_where_its_run_is_seen(server, capsys):
    assert main(["pipelines", "submit", "training", "--host", server.url]) == 0
    assert capsys.readouterr().out == f"started r1\n{server.url}/#/runs/details/r1\n"


@pytest.mark.parametrize("verb", ["list", "show", "export", "submit"])
def test_every_verb_has_help_that_ends_with_an_example(verb, capsys):
    assert main(["pipelines", verb, "--help"]) == 0
    assert f"Example: cd4ml pipelines {verb}" in " ".join(capsys.readouterr().out.split())
