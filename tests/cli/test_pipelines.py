"""`cd4ml pipelines`: list, show and export, with one line and an exit code for what goes wrong."""

import json

import pytest

from cd4ml.adapters.kubeflow import package
from cd4ml.cli.main import main


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


@pytest.mark.parametrize("verb", ["list", "show", "export", "submit", "status", "cancel"])
def test_every_verb_has_help_that_ends_with_an_example(verb, capsys):
    assert main(["pipelines", verb, "--help"]) == 0
    assert f"Example: cd4ml pipelines {verb}" in " ".join(capsys.readouterr().out.split())
