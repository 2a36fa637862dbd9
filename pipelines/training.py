"""From sources to a judged, registered model."""

from typing import Any, Dict

from kfp import dsl

from components.data.features.component import features
from components.data.fingerprint.component import fingerprint
from components.data.resolve.component import resolve
from components.data.snapshot.component import snapshot
from components.delivery.approval_page.component import approval_page
from components.delivery.await_approval.component import await_approval
from components.delivery.package.component import package
from components.delivery.register.component import register
from components.delivery.start_from_training.component import start_from_training
from components.evaluation.champion.component import champion
from components.evaluation.check_bias.component import check_bias
from components.evaluation.consumers.component import consumers
from components.evaluation.explain_model.component import explain_model
from components.evaluation.explore_slices.component import explore_slices
from components.evaluation.judge_model.component import judge_model
from components.evaluation.look.component import look
from components.evaluation.report.component import report
from components.evaluation.score.component import score
from components.training.choose.component import choose
from components.training.plan.component import plan
from components.training.search.component import search
from pipelines._tasks import on_cluster, with_retries, with_signing_key, with_store

__all__ = ["training"]


def _searched(keyed: Dict[str, Any], dataset: Any) -> Any:
    """Search all families, each in a task of its own; return the chosen model."""
    planned = on_cluster(plan(**keyed, dataset=dataset), "Plan the search")
    with dsl.ParallelFor(planned.output, name="Search") as item:
        found = on_cluster(
            search(problem=keyed["problem"], dataset=dataset, item=item), "Search a family", size="large"
        )
    results = dsl.Collected(found.outputs["result"])
    chosen = choose(**keyed, dataset=dataset, results=results)
    return on_cluster(chosen, "Choose and fit", size="large").outputs["model"]


def _trained(problem: Any, data: Any, store: Any) -> Dict[str, Any]:
    """Return problem, fingerprint, snapshot, dataset and model, as what comes after takes them."""
    prints = with_store(on_cluster(fingerprint(problem=problem, data=data), "Fingerprint", cached=False))
    # Hashes travel as a parameter: on a cluster they are what tells the cache that content has changed.
    resolved = with_store(on_cluster(resolve(problem=problem, fingerprint=prints.output), "Problem"))
    keyed = {"problem": resolved.outputs["normalised"], "fingerprint": prints.output}
    taken = with_store(on_cluster(snapshot(**keyed, data=data, store=store), "Snapshot", size="medium"))
    inputs = {**keyed, "snapshot": taken.outputs["snapshot"]}
    inputs["dataset"] = on_cluster(features(**inputs), "Features", size="medium").outputs["dataset"]
    inputs["model"] = _searched(keyed, inputs["dataset"])
    return inputs


def _examined(made: Dict[str, Any], keyed: Dict[str, Any], store: Any) -> Dict[str, Any]:
    """Return champion, bias and explanations of a scored model.

    What depends on the store is never taken from a cache: aliases move, and every look at the holdout counts.
    """
    scored = champion(**_pick(made, "problem", "snapshot", "dataset"), store=store)
    used = with_store(on_cluster(scored, "Champion", size="medium", cached=False)).outputs["champion"]
    checked = on_cluster(check_bias(**made, champion=used), "Bias", size="medium", cached=False)
    explained = explain_model(**keyed, **_pick(made, "dataset", "model", "evaluation"))
    explanations = on_cluster(explained, "Explain", size="medium").outputs["explanations"]
    explored = explore_slices(**_pick(made, "problem", "dataset", "evaluation"), champion=used)
    on_cluster(explored, "Slices", size="medium", cached=False)
    return {"champion": used, "bias": checked.outputs["bias"], "explanations": explanations}


def _rolled_out(told: Dict[str, Any], service: Any, store: Any) -> None:
    """Start the rollout of a registered model, where one is wanted."""
    with dsl.If(service != "", name="Rollout wanted"):
        starting = start_from_training(**told, service=service, store=store)
        with_retries(with_store(on_cluster(starting, "Start the rollout", cached=False)))


def _pick(made: Dict[str, Any], *names: str) -> Dict[str, Any]:
    return {name: made[name] for name in names}


@dsl.pipeline(name="cd4ml-training", display_name="Train, judge and register a model")
def training(
    problem: str = "sales-forecast",
    data: str = "s3://cd4ml/data/sales-forecast",
    store: str = "s3://cd4ml/store",
    previous: str = "",
    approval_wait_seconds: float = 0.0,
    rollout_service: str = "",
    git_commit: str = "",
    git_branch: str = "",
) -> None:
    """Take data to a judged model in the registry; a rejected model leaves its report and nothing else.

    Args:
        problem: Name of a shipped problem (adult-income, bike-demand, sales-forecast) or URL of a file.
        data: Object-store or web address under which the problem finds its sources.
        store: s3:// address in which snapshots, models and events are kept.
        previous: JSON of the hashes that the last run depended on; empty to compare with the champion.
        approval_wait_seconds: How long to wait for a person where the verdict needs one; 0 looks once.
        rollout_service: The endpoint at which the rollout of an accepted model starts; empty for none.
        git_commit: Commit of the code that asks for the run, or empty.
        git_branch: Its branch, or empty.
    """
    inputs = _trained(problem, data, store)
    keyed = _pick(inputs, "problem", "fingerprint")
    made = _pick(inputs, "problem", "snapshot", "dataset", "model")
    looking = look(**_pick(made, "problem", "snapshot", "model"), store=store, git_commit=git_commit)
    looked = with_signing_key(with_store(on_cluster(looking, "Look at the holdout", cached=False)))
    # Whoever sees a score has been counted before.
    scored = on_cluster(score(**inputs).after(looked), "Score", size="medium")
    made["evaluation"] = scored.outputs["evaluation"]
    examined = {**_examined(made, keyed, store), "ledger": looked.outputs["ledger"]}
    commit = {"git_commit": git_commit, "git_branch": git_branch}
    packing = package(**made, **_pick(inputs, "fingerprint"), **commit, bias=examined["bias"])
    packed = with_signing_key(on_cluster(packing, "Package", size="medium"))
    bundle, checks = packed.outputs["bundle"], packed.outputs["checks"]
    called = consumers(**_pick(made, "problem"), **_pick(examined, "champion"), bundle=bundle, store=store)
    relied = with_store(on_cluster(called, "Consumers", cached=False)).outputs["consumers"]
    proof = {**examined, "checks": checks, "bundle": bundle, "consumers": relied}
    evidence = {name: one for name, one in made.items() if name != "model"} | proof
    judging = judge_model(**evidence, previous=previous, store=store)
    # Verdict and report are never taken from a cache: they speak of this run's bundle.
    judged = with_signing_key(with_store(on_cluster(judging, "Judge", cached=False)))
    said = {"verdict": judged.outputs["verdict"], "ratchet": judged.outputs["ratchet"]}
    shown = {name: one for name, one in proof.items() if name != "champion"}
    on_cluster(report(**made, **shown, **said), "Report", cached=False)
    with dsl.If(judged.outputs["Output"] != "reject", name="Not rejected"):
        kept = {**_pick(made, "problem", "evaluation"), **said, "bundle": bundle, "store": store}
        registered = with_store(on_cluster(register(**kept), "Register", cached=False))
        known = {
            name: one for name, one in {**proof, **said}.items() if name not in ("checks", "explanations")
        }
        page = approval_page(**_pick(made, "problem", "evaluation"), **known, registered=registered.output)
        on_cluster(page, "Approver's page", cached=False)
        asked = {**_pick(made, "problem"), "verdict": said["verdict"], "bundle": bundle, "store": store}
        waiting = await_approval(**asked, wait_seconds=approval_wait_seconds).after(registered)
        approved = with_signing_key(with_store(on_cluster(waiting, "Approval", cached=False))).output
        told = {"registered": registered.output, "verdict": said["verdict"], "approval": approved}
        _rolled_out(told, rollout_service, store)
