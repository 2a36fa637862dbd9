"""Settings for a cluster are read with the problem, refused with their line, and no part of its hash."""

import json

import pytest

from cd4ml.adapters.problem_files import dumps, loads
from cd4ml.errors import ProblemError
from cd4ml.problem import Problem
from cd4ml.steps.documents import problem_of
from cd4ml.steps.fingerprint import hashes, resolve_problem
from tests.adapters.test_problem_files import MINIMAL

SETTINGS = """\
kubernetes:
  defaults:
    node_selector: {pool: models}
  tasks:
    search:
      cpu: {request: 4, limit: 8}
      timeout: 2h
  runs: {ttl: {finished: 7d}}
"""


def test_settings_change_neither_hash_nor_written_form(tmp_path):
    (tmp_path / "loans.csv").write_text("amount,job,repaid\n1,a,yes\n")
    with_settings = loads(MINIMAL + SETTINGS)
    assert with_settings.kubernetes.model_fields_set
    assert dumps(with_settings) == dumps(loads(MINIMAL))
    assert hashes(with_settings, str(tmp_path)) == hashes(loads(MINIMAL), str(tmp_path))
    # It is the text, then, that other settings would have to change.
    assert dumps(loads(MINIMAL.replace("0.2", "0.3"))) != dumps(with_settings)


def test_what_the_steps_and_the_bundle_get_has_no_settings(tmp_path):
    file = tmp_path / "problem.yaml"
    file.write_text(MINIMAL + SETTINGS)
    (tmp_path / "loans.csv").write_text("amount,job,repaid\n1,a,yes\n")
    expected = hashes(loads(MINIMAL), str(tmp_path))["problem"]
    resolve_problem(str(file), expected, tmp_path / "normal.json")
    assert problem_of(tmp_path / "normal.json") == loads(MINIMAL)
    assert "kubernetes" not in json.loads((tmp_path / "normal.json").read_text())
    assert "kubernetes" not in Problem.model_json_schema(mode="serialization")["properties"]
    assert "kubernetes" in Problem.model_json_schema()["properties"]


def test_the_settings_are_shown_as_they_were_said():
    text = dumps(loads(MINIMAL + SETTINGS), kubernetes=True)
    shown = json.loads(text)["kubernetes"]
    assert shown["tasks"] == {"search": {"cpu": {"request": "4", "limit": "8"}, "timeout": "2h"}}
    assert loads(text) == loads(MINIMAL + SETTINGS)
    assert "kubernetes" not in json.loads(dumps(loads(MINIMAL), kubernetes=True))


@pytest.mark.parametrize(
    ("said", "place", "message"),
    [
        (
            "tasks: {serch: {}}",
            "kubernetes.tasks.serch",
            "no pipeline has a task 'serch'; did you mean 'search'",
        ),
        (
            "tasks: {search: {cpu: {limit: -2}}}",
            "kubernetes.tasks.search.cpu.limit",
            "such as 2, 0.5 or 500m",
        ),
        (
            "defaults: {memory: {limit: 2x}}",
            "kubernetes.defaults.memory.limit",
            "such as 512Mi or 8Gi; found '2x'",
        ),
        (
            "defaults: {memory: {request: 2Gi, limit: 1Gi}}",
            "kubernetes.defaults.memory",
            "a limit of at least the request 2Gi; found limit 1Gi",
        ),
        (
            "defaults: {cpu: {limit: 2}}\n  tasks: {search: {cpu: {request: 3}}}",
            "kubernetes.tasks.search.cpu",
            "with the defaults: expected a limit of at least the request 3",
        ),
        (
            "defaults: {cpu: {limit: 0.25}}",
            "kubernetes.defaults.cpu",
            "would ask for 0.5 and be limited to 0.25",
        ),
        ("defaults: {gpu: 1}", "kubernetes.defaults.gpu", "unknown key 'gpu'"),
        ("defaults: {labels: {sidecar.istio.io/inject: false}}", "kubernetes.defaults", 'such as "false"'),
        ("defaults: {env: {LAKE_PASSWORD: x}}", "kubernetes.defaults.env.LAKE_PASSWORD", "under `secrets`"),
        ("pipelines: {trainin: {}}", "kubernetes.pipelines.trainin", "did you mean 'training'"),
    ],
)
def test_what_is_wrong_is_refused_with_line_and_key(said, place, message):
    with pytest.raises(ProblemError) as caught:
        loads(f"{MINIMAL}kubernetes:\n  {said}\n", origin="loans.yaml")
    line = MINIMAL.count("\n") + 2
    assert str(caught.value).startswith(f"loans.yaml:{line}") or "with the defaults" in message
    assert f"`{place}" in str(caught.value)
    assert message in str(caught.value)
