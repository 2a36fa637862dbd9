"""`cd4ml pipelines show` and `export`, and `cd4ml problem`, with a problem's settings for Kubernetes."""

import json

import pytest
import yaml

from cd4ml.adapters.kubeflow import package
from cd4ml.cli.main import main
from tests.adapters.test_problem_files import MINIMAL

SETTINGS = """\
kubernetes:
  tasks:
    search:
      accelerator: {type: nvidia.com/gpu}
      timeout: 2h
"""


@pytest.fixture
def problem(tmp_path):
    file = tmp_path / "loans.yaml"
    file.write_text(MINIMAL + SETTINGS)
    return str(file)


def test_an_exported_pipeline_has_the_settings_of_the_problem(problem, tmp_path):
    out, image = tmp_path / "training.yaml", "registry.example.org/x-python:2"
    command = ["pipelines", "export", "training", "--out", str(out), "--image", image]
    assert main([*command, "--problem", problem]) == 0
    pipeline, platform = yaml.safe_load_all(out.read_text())
    search = pipeline["deploymentSpec"]["executors"]["exec-search"]["container"]
    assert search["resources"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert search["image"] == image
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert {name for name, one in executors.items() if "activeDeadlineSeconds" in one} == {"exec-search"}
    # The problem that says nothing changes nothing.
    (tmp_path / "plain.yaml").write_text(MINIMAL)
    assert (
        main(
            ["pipelines", "export", "training", "--out", str(out), "--problem", str(tmp_path / "plain.yaml")]
        )
        == 0
    )
    assert out.read_bytes() == package("training").read_bytes()


def test_what_each_task_gets_is_shown(problem, capsys):
    assert main(["pipelines", "show", "training", "--problem", problem]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("search "))
    expected = "search Search a family 2.0 to 4 4096Mi to 8Gi 1 x nvidia.com/gpu 0 7200s - -"
    assert " ".join(line.split()) == expected
    assert main(["pipelines", "show", "training", "--problem", problem, "--json"]) == 0
    tasks = json.loads(capsys.readouterr().out)["tasks"]
    assert tasks["search"]["timeout_seconds"] == 7200
    assert tasks["choose"]["timeout_seconds"] == 0
    assert main(["pipelines", "show", "training", "--json"]) == 0
    assert "tasks" not in json.loads(capsys.readouterr().out)


def test_a_problem_that_is_wrong_writes_no_file(tmp_path, capsys):
    (tmp_path / "loans.yaml").write_text(MINIMAL + SETTINGS.replace("search", "serch"))
    out = tmp_path / "training.yaml"
    command = [
        "pipelines",
        "export",
        "training",
        "--out",
        str(out),
        "--problem",
        str(tmp_path / "loans.yaml"),
    ]
    assert main(command) == 2
    assert "no pipeline has a task 'serch'; did you mean 'search'?" in capsys.readouterr().err
    assert not out.exists()


def test_check_says_which_tasks_have_settings_and_show_has_them(problem, capsys):
    assert main(["problem", "check", problem]) == 0
    assert "on Kubernetes, search: accelerator, timeout" in capsys.readouterr().out
    assert main(["problem", "check", problem, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kubernetes"] == {"search": ["accelerator", "timeout"]}
    assert main(["problem", "show", problem]) == 0
    assert json.loads(capsys.readouterr().out)["kubernetes"]["tasks"]["search"]["timeout"] == "2h"
