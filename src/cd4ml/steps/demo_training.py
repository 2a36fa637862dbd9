"""Train the models of the demonstration: the steps of the training pipeline, in one process.

`python -m cd4ml.steps.demo_training PROBLEM DATA OUT STORE` prints what was registered. The compiled pipeline
starts a process a task, which costs more than these small fits; the steps and the judge are the same.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cd4ml.errors import Cd4mlError, GateRejected
from cd4ml.steps.documents import read

__all__ = ["Trained", "main", "train"]


@dataclass(frozen=True)
class Trained:
    """A model in the registry.

    Attributes
    ----------
    name, version, bundle : str
        As the registry has it.
    decision : str
        Of the judge.
    loss : float
        Primary metric on its own holdout.
    failed : tuple of str
        Why the judge rejected it.
    """

    name: str
    version: str
    bundle: str
    decision: str
    loss: float
    failed: tuple[str, ...] = ()


def train(problem: str, data: str, out: Path, store: str, forced: bool = False) -> Trained:
    """Snapshot, features, search, score, package, judge and register, with everything under `out`.

    Parameters
    ----------
    forced : bool
        A model that the judge rejects is pushed into the registry all the same, with its verdict.

    Raises
    ------
    GateRejected
        When the judge rejects the model.
    """
    from cd4ml.steps.fingerprint import fingerprint, resolve_problem

    hashes = fingerprint(problem, data)
    resolve_problem(problem, hashes["problem"], out / "problem.json")
    made = _fitted(data, store, out)
    checks = _examined(made, hashes, store, out)
    return _judged(made | checks, store, out, forced)


def _fitted(data: str, store: str, out: Path) -> dict[str, Path]:
    from cd4ml.steps.features import build_features
    from cd4ml.steps.search import choose_model, plan_search, search_family
    from cd4ml.steps.snapshot import take_snapshot

    problem, snapshot, dataset, model = (
        out / name for name in ("problem.json", "snapshot", "dataset", "model")
    )
    take_snapshot(problem, data, store, snapshot, out / "profile.html")
    build_features(problem, snapshot, dataset)
    results = []
    for task in plan_search(problem, dataset):
        results.append(out / "search" / str(task["name"]))
        search_family(problem, dataset, task, results[-1])
    choose_model(problem, dataset, results, model)
    return {"problem": problem, "snapshot": snapshot, "dataset": dataset, "model": model}


def _examined(made: dict[str, Path], hashes: dict[str, str], store: str, out: Path) -> dict[str, Path]:
    from cd4ml.steps.bias import check_bias
    from cd4ml.steps.champion import score_champion
    from cd4ml.steps.explain import explain_model
    from cd4ml.steps.ledger import record_look
    from cd4ml.steps.package import package_model
    from cd4ml.steps.score import score_model

    problem, snapshot, dataset, model = (made[name] for name in ("problem", "snapshot", "dataset", "model"))
    found = {
        name: out / name for name in ("evaluation", "champion", "bias", "bundle", "checks", "explanations")
    }
    found["ledger"] = out / "ledger.json"
    record_look(problem, snapshot, model, store, found["ledger"])
    score_model(problem, snapshot, dataset, model, found["evaluation"])
    score_champion(problem, snapshot, dataset, store, found["champion"])
    check_bias(problem, snapshot, dataset, model, found["evaluation"], found["champion"], found["bias"])
    package_model(
        problem,
        snapshot,
        dataset,
        model,
        found["evaluation"],
        {**hashes, "git_commit": "", "git_branch": ""},
        found["bundle"],
        found["checks"],
        found["bias"],
    )
    explain_model(problem, dataset, model, found["evaluation"], found["explanations"])
    return found


def _judged(made: dict[str, Path], store: str, out: Path, forced: bool) -> Trained:
    from cd4ml.steps.consumers import check_consumers
    from cd4ml.steps.judge import judge_model

    verdict, consumers = out / "verdict.json", out / "consumers"
    check_consumers(made["problem"], made["bundle"], store, made["champion"], consumers)
    evidence = {name: path for name, path in made.items() if name != "model"} | {"consumers": consumers}
    decision = judge_model(evidence, "", store, out / "ratchet.json", verdict, out / "verdict.md")
    failed = tuple(gate["reason"] for gate in read(verdict)["gates"] if gate["status"] == "fail")
    if failed and not forced:
        raise GateRejected(f"the judge rejects the model of {out.name}: {'; '.join(failed)}")
    record = _registered(made, verdict, store, out)
    primary = read(made["problem"])["metrics"]["primary"]
    loss = read(made["evaluation"] / "metrics.json")["holdout"][primary]["estimate"]
    return Trained(record["name"], record["version"], record["bundle"], decision, loss, failed)


def _registered(made: dict[str, Path], verdict: Path, store: str, out: Path) -> dict[str, str]:
    from cd4ml.adapters.registry import Registry
    from cd4ml.adapters.storage import open_store
    from cd4ml.steps.register import register_model

    if read(verdict)["decision"] != "reject":
        return register_model(
            made["problem"], made["bundle"], verdict, made["evaluation"], store, out / "ratchet.json"
        )
    name = read(made["problem"])["name"]
    version = Registry(open_store(store)).push(made["bundle"], name, "reject")
    return {"name": name, "version": str(version.version), "bundle": version.bundle}


def main(argv: Sequence[str] | None = None) -> int:
    """Train one model after another: a JSON line of standard input asks, one of standard output answers."""
    from dataclasses import asdict

    parser = argparse.ArgumentParser(prog="python -m cd4ml.steps.demo_training")
    parser.add_argument("--store", required=True)
    options = parser.parse_args(argv)
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        try:
            answer = asdict(train(**{**asked, "out": Path(asked["out"])}, store=options.store))
        except Cd4mlError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
