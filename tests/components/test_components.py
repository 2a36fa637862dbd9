"""What holds for every component: short, described, documented, readable by kfp's compiler."""

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kfp import components, dsl

from cd4ml.adapters.problem_files import dumps, load
from cd4ml.adapters.storage.hashing import sha256_bytes
from cd4ml.errors import IntegrityError
from scripts.generate import MARKER, ROOT, component_names, render_all, stale

NAMES = component_names()
WORDS = {
    "STRING": ["text"],
    "NUMBER_INTEGER": ["integer"],
    "NUMBER_DOUBLE": ["number"],
    "STRUCT": ["mapping"],
    "LIST": ["list"],
}
OUTSIDE_OF_THE_PIPELINE = {"predict", "update-history", "verify-endpoint"}
"""What works on a model that is in use, whenever somebody asks."""
ALL = pytest.mark.parametrize(("stage", "name"), NAMES, ids=[f"{stage}/{name}" for stage, name in NAMES])


def source(stage, name):
    return (ROOT / "components" / stage / name / "component.py").read_text()


def function(stage, name):
    (found,) = [one for one in ast.parse(source(stage, name)).body if isinstance(one, ast.FunctionDef)]
    return found


def loaded(stage, name):
    return getattr(importlib.import_module(f"components.{stage}.{name}.component"), name)


def interface(stage, name):
    """Return (inputs, outputs) of a component's compiled file, each with type and meaning by name."""
    (spec,) = yaml.safe_load((ROOT / "components" / stage / name / "component.yaml").read_text())[
        "components"
    ].values()
    sides = []
    for side in ("inputDefinitions", "outputDefinitions"):
        kinds = spec.get(side, {})
        artifacts = {
            key: one["artifactType"]["schemaTitle"] for key, one in kinds.get("artifacts", {}).items()
        }
        values = {key: one["parameterType"] for key, one in kinds.get("parameters", {}).items()}
        sides.append({**artifacts, **values})
    return sides


def table(readme, heading):
    """Return name, type and meaning of each row of a section's table."""
    section = readme.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {cells[0].strip(" `"): (cells[1].strip(), cells[2].strip()) for cells in rows}


def executors(pipeline):
    """Return the components of a compiled pipeline; one that is used twice has a number behind its name."""
    text = (ROOT / f"src/cd4ml/compiled/{pipeline}.yaml").read_text().split("\n---")[0]
    names = yaml.safe_load(text)["deploymentSpec"]["executors"]
    return {re.sub(r"-\d+$", "", name.removeprefix("exec-")) for name in names}


def test_the_components_are_those_of_the_pipelines_and_those_known_to_be_outside_of_them():
    used = executors("training") | executors("delivery")
    assert not used & OUTSIDE_OF_THE_PIPELINE
    assert {name.replace("_", "-") for _, name in NAMES} == used | OUTSIDE_OF_THE_PIPELINE


@ALL
def test_every_input_is_named_by_the_caller(stage, name):
    kinds = {one.kind for one in inspect.signature(loaded(stage, name).python_func).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


@ALL
def test_a_readme_shows_every_input_and_output_with_type_and_meaning(stage, name):
    readme = (ROOT / "components" / stage / name / "README.md").read_text()
    inputs, outputs = interface(stage, name)
    assert table(readme, "Inputs").keys() == inputs.keys()
    assert table(readme, "Outputs").keys() == outputs.keys()
    for heading, side in (("Inputs", inputs), ("Outputs", outputs)):
        for key, (kind, meaning) in table(readme, heading).items():
            assert kind.removeprefix("list of ") in {
                side[key].removeprefix("system."),
                *WORDS.get(side[key], ()),
            }
            assert len(meaning) > 8, key
    parameters = inspect.signature(loaded(stage, name).python_func).parameters
    assert parameters.keys() <= inputs.keys() | outputs.keys()


@ALL
def test_what_the_dashboard_draws_is_written_by_the_functions_that_also_make_the_file(stage, name):
    text = source(stage, name)
    _, outputs = interface(stage, name)
    for key, kind in outputs.items():
        if kind == "system.Metrics":
            assert f"write_metrics({key}, " in text
        if kind == "system.ClassificationMetrics":
            assert f"write_curves({key}, " in text


@ALL
def test_no_component_takes_a_secret(stage, name):
    inputs, _ = interface(stage, name)
    assert not [key for key in inputs if re.search("secret|password|token|credential|(^|_)key", key)]


@ALL
def test_a_compiled_component_is_loaded_as_other_repositories_load_it(stage, name):
    found = components.load_component_from_file(str(ROOT / "components" / stage / name / "component.yaml"))
    assert found.component_spec.name == name.replace("_", "-")


@ALL
def test_a_body_is_shorter_than_fifteen_lines(stage, name):
    body = function(stage, name).body[1:]
    lines = {line for one in body for line in range(one.lineno, one.end_lineno + 1)}
    assert len(lines) < 15


@ALL
def test_a_body_makes_one_call_into_the_steps(stage, name):
    tree = function(stage, name)
    steps = [
        one.module
        for one in ast.walk(tree)
        if isinstance(one, ast.ImportFrom) and one.module.startswith("cd4ml.steps")
    ]
    calls = [
        one for one in ast.walk(tree) if isinstance(one, ast.Call) and getattr(one.func, "id", "") == "step"
    ]
    assert len(steps) == len(calls) == 1


@ALL
def test_the_top_of_a_file_imports_nothing_that_the_compiler_does_not_need(stage, name):
    imported = [one.module for one in ast.parse(source(stage, name)).body if isinstance(one, ast.ImportFrom)]
    assert set(imported) <= {"typing", "kfp.dsl", "components._base"}


@ALL
def test_the_step_that_a_body_calls_has_the_arguments_that_it_is_given(stage, name):
    module, step = next(
        (one.module, one.names[0].name)
        for one in ast.walk(function(stage, name))
        if isinstance(one, ast.ImportFrom) and one.module.startswith("cd4ml.steps")
    )
    parameters = inspect.signature(getattr(importlib.import_module(module), step)).parameters.values()
    taken = {one.name for one in parameters if one.default is inspect.Parameter.empty}
    given = set(inspect.signature(loaded(stage, name).python_func).parameters)
    renamed = {"expected", "lineage", "made", "out", "page", "reference", "task"}
    assert taken - renamed <= given


@ALL
def test_a_component_has_a_generated_readme_and_a_compiled_file(stage, name):
    folder = ROOT / "components" / stage / name
    readme = (folder / "README.md").read_text()
    assert MARKER in readme
    assert readme.startswith(f"# {name}\n")
    assert "executor_main" in (folder / "component.yaml").read_text()


@pytest.fixture(scope="module")
def rendered():
    return render_all()


@pytest.mark.xdist_group("generated")
def test_generated_files_are_those_that_their_sources_give(rendered):
    for path, text in rendered.items():
        assert (ROOT / path).read_text() == text, path


def test_a_generated_file_that_was_changed_by_hand_fails_the_check():
    done = subprocess.run(
        [sys.executable, "-m", "scripts.generate", "--check", "--image", "example.org/python-x:1"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "components/data/snapshot/component.yaml differs" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_target_image_is_a_switch_of_the_build():
    code = (
        "from components.data.snapshot.component import snapshot as c; print(c.component_spec.implementation)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "CD4ML_TARGET_IMAGE": "example.org/python-built:1"},
    ).stdout  # fmt: skip
    assert "example.org/python-built:1" in found
    assert "ephemeral_component" not in found


@pytest.mark.xdist_group("generated")
def test_a_generated_file_without_a_source_is_told(rendered):
    texts = dict(rendered)
    assert stale(texts) == []
    gone = "components/data/snapshot/component.yaml"
    del texts[gone]
    assert stale(texts) == [gone]


@pytest.mark.parametrize("module", ["pipelines", "scripts.generate"])
def test_an_image_that_is_not_pinned_is_refused_with_what_is_right(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--image", "example.org/python-x:latest"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pinned by a version or a digest" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_fingerprint_returns_parameters_only_and_its_hashes_differ_with_what_they_are_of(tmp_path):
    _, outputs = interface("data", "fingerprint")
    assert outputs == {"Output": "STRUCT"}
    (tmp_path / "hour.csv").write_text("dteday,hr\n2011-01-01,0\n")
    call = loaded("data", "fingerprint").python_func
    first = call(problem="bike-demand", data=str(tmp_path))
    assert first.keys() == {"code", "data", "lock", "problem"}
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in first.values())
    own = ("data", "lock", "problem")  # the code's is of the package, see tests/adapters/test_installation.py
    again = call(problem="bike-demand", data=str(tmp_path))
    assert [again[key] for key in own] == [first[key] for key in own]
    (tmp_path / "hour.csv").write_text("dteday,hr\n2011-01-01,1\n")
    second = call(problem="bike-demand", data=str(tmp_path))
    assert [key for key in own if first[key] != second[key]] == ["data"]


def test_a_problem_that_changed_after_it_was_hashed_is_refused(tmp_path):
    call = loaded("data", "resolve").python_func
    out = dsl.Artifact(uri=str(tmp_path / "problem.json"))
    text = dumps(load("bike-demand"))
    call(problem="bike-demand", fingerprint={"problem": sha256_bytes(text.encode())}, normalised=out)
    assert (tmp_path / "problem.json").read_text() == text
    with pytest.raises(IntegrityError, match="changed while the run was starting"):
        call(problem="adult-income", fingerprint={"problem": sha256_bytes(text.encode())}, normalised=out)


def test_an_image_is_python_named_and_pinned():
    from components._base import IMAGE

    name, _, tag = Path(IMAGE).name.partition(":")
    assert "python" in name
    assert tag not in {"", "latest"}
