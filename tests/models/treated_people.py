"""A small problem with groups that a model treats differently, through all steps; made once each."""

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cd4ml.adapters import problem_files
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY
from cd4ml.adapters.storage import atomic
from cd4ml.models.runtime import Bundle
from cd4ml.steps.features import build_features
from cd4ml.steps.package import package_model
from cd4ml.steps.score import score_model
from cd4ml.steps.search import choose_model, plan_search, search_family
from cd4ml.steps.snapshot import take_snapshot
from tests.adapters.s3_server import environment
from tests.models.bundles import document

HIRED = """
name: hired
task: classification
tables:
  people:
    file: people.csv
    columns:
      skill: {type: number}
      tenure: {type: integer, min: 0}
      sex: {type: category, nulls: true}
      grade: {type: integer}
      hired: {type: category, allowed: ["no", "yes"]}
facts: people
target: {column: hired, positive: "yes"}
features: [{kind: columns, columns: [skill, tenure]}]
split: {kind: random, holdout: 0.4, folds: 2}
candidates: [{name: linear, family: logistic}]
search: {seed: 7, repeats: 2}
metrics: {primary: PRIMARY, also: [accuracy, recall, log_loss], resamples: 100}
baselines: [{name: prior, kind: mean}]
sensitive: [sex]
slices: [grade]
bias: {min_rows: 100}
mitigations: MITIGATIONS
"""

PAID = """
name: paid
task: regression
tables:
  people:
    file: people.csv
    columns:
      skill: {type: number}
      tenure: {type: integer, min: 0}
      sex: {type: category, nulls: true}
      grade: {type: integer}
      wage: {type: number, min: 0}
facts: people
target: {column: wage, min: 0}
features: [{kind: columns, columns: [skill]}]
split: {kind: random, holdout: 0.4, folds: 2}
candidates: [{name: line, family: ridge}]
search: {seed: 7}
metrics: {primary: mae, also: [wape], resamples: 100}
baselines: [{name: level, kind: mean}]
sensitive: [sex]
bias: {min_rows: 100, block: predicted_to_actual}
mitigations: MITIGATIONS
"""

ROWS = 2400


def write_people(folder: Path, rows: int = ROWS) -> Path:
    """Write people of whom women have less tenure, which the model uses; sex itself it does not."""
    rng = np.random.Generator(np.random.PCG64(8))
    woman = rng.random(rows) < 0.4
    skill = rng.normal(size=rows).round(4)
    tenure = rng.poisson(np.where(woman, 2, 6))
    hired = rng.random(rows) < 1 / (1 + np.exp(-(1.5 * skill + 0.5 * tenure - 2.2)))
    wage = np.maximum(0, 20 + 6 * skill + np.where(woman, -4, 4) + rng.normal(size=rows)).round(3)
    known = rng.random(rows) > 0.02
    sex = np.where(known, np.where(woman, "woman", "man"), "")
    folder.mkdir(parents=True, exist_ok=True)
    columns = [skill, tenure, sex, rng.integers(1, 4, rows), np.where(hired, "yes", "no")]
    for name, last, header in (("hired", columns[-1], "hired"), ("paid", wage, "wage")):
        (folder / name).mkdir(exist_ok=True)
        lines = [",".join(map(str, row)) for row in zip(*columns[:-1], last, strict=True)]
        text = "\n".join([f"skill,tenure,sex,grade,{header}", *lines]) + "\n"
        (folder / name / "people.csv").write_text(text)
    return folder


@dataclass(frozen=True)
class Made:
    """The folders of a run."""

    work: Path

    def json(self, name: str) -> Any:
        return document(self.work, name)

    def bundle(self) -> Bundle:
        with environment(**{SIGNING_KEY: None, VERIFY_KEY: None}):
            return Bundle.load(self.work / "bundle", own=True)


def package(work: Path) -> None:
    """Make bundle/ and checks/ of what the other steps left in `work`."""
    parts = [work / name for name in ("problem.json", "snapshot", "dataset", "model", "evaluation")]
    lineage = {key: key * 8 for key in ("data", "problem", "lock", "code")}
    with environment(**{SIGNING_KEY: None, VERIFY_KEY: None}):
        package_model(*parts, lineage, work / "bundle", work / "checks")


def make(text: str, work: Path) -> Made:
    """Run the steps from data to bundle."""
    problem = problem_files.loads(text)
    data = write_people(work / "sources") / problem.name
    atomic.write_text(work / "problem.json", problem_files.dumps(problem))
    problem_file, snapshot, dataset = work / "problem.json", work / "snapshot", work / "dataset"
    take_snapshot(problem_file, str(data), str(work / "store"), snapshot, work / "profile.html")
    build_features(problem_file, snapshot, dataset)
    results = []
    for task in plan_search(problem_file, dataset):
        results.append(work / f"search-{task['name']}")
        search_family(problem_file, dataset, task, results[-1])
    choose_model(problem_file, dataset, results, work / "model")
    score_model(problem_file, snapshot, dataset, work / "model", work / "evaluation")
    package(work)
    return Made(work)


_KEPT = tempfile.TemporaryDirectory(prefix="cd4ml-treated-")


@cache
def hired(mitigations: str, primary: str = "roc_auc", extra: str = "") -> Made:
    """Return a classification made with mitigations as YAML."""
    work = Path(tempfile.mkdtemp(dir=_KEPT.name))
    return make(HIRED.replace("MITIGATIONS", mitigations).replace("PRIMARY", primary) + extra, work)


@cache
def paid(mitigations: str) -> Made:
    """Return a regression made with mitigations as YAML."""
    return make(PAID.replace("MITIGATIONS", mitigations), Path(tempfile.mkdtemp(dir=_KEPT.name)))
